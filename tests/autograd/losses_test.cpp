#include "fovea/autograd/functions/losses.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "fovea/autograd/tape.hpp"
#include "fovea/base/error.hpp"
#include "tests/autograd/registry.hpp"
#include "tests/support/expect_error.hpp"

namespace fovea::autograd {
namespace {

std::string text(int64_t n) {
  return std::to_string(n);
}

Array reduced(const Array& each, Reduction reduction, double weight) {
  if (reduction == Reduction::kNone) return each;
  Array y = reference::zeros({1});
  for (const double v : each.data) y.at(0) += v;
  if (reduction == Reduction::kMean) y.at(0) = weight > 0 ? y.at(0) / weight : 0.0;
  return y;
}

struct Variant {
  const char* name;
  double smoothing;
  bool weighted;
  Reduction reduction;
};
constexpr Variant kVariants[] = {{"mean", 0, false, Reduction::kMean},
                                 {"smoothed", 0.1, false, Reduction::kMean},
                                 {"weighted", 0, true, Reduction::kSum},
                                 {"both", 0.2, true, Reduction::kMean},
                                 {"rows", 0.1, false, Reduction::kNone}};

struct Problem {
  CrossEntropyOptions options;
  reference::CrossEntropy same;
  std::vector<int64_t> targets;
};

Problem problem(const Variant& v, int64_t rows, int64_t classes) {
  Problem p;
  p.options.label_smoothing = static_cast<float>(v.smoothing);
  p.options.reduction = v.reduction;
  p.same.smoothing = static_cast<double>(p.options.label_smoothing);
  if (v.weighted) {
    const Array w = random_array({classes}, 9, 0.5, 2);
    p.options.class_weights = to_tensor(w);
    p.same.weights = w.data;
  }
  p.targets = random_ids(rows, 0, classes, 7);
  for (size_t i = 2; i < p.targets.size(); i += 5) p.targets[i] = -100;
  return p;
}

std::vector<std::pair<int64_t, int64_t>> shapes() {
  std::vector<std::pair<int64_t, int64_t>> all;
  for (const int64_t n : awkward_sizes()) {
    all.emplace_back(n, 6);
    if (n > 0) all.emplace_back(3, n);
  }
  return all;
}

FOVEA_GRADIENT_CASES(cross_entropy) {
  std::vector<GradientCase> cases;
  for (const Variant& v : kVariants) {
    for (const auto& [rows, classes] : shapes()) {
      const Problem p = problem(v, rows, classes);
      const Tensor targets = to_tensor(p.targets, rows % 2 == 0 ? DType::kI32 : DType::kI64);
      cases.push_back(
          {.label = std::string(v.name) + " " + text(rows) + "x" + text(classes),
           .inputs = {random_array({rows, classes}, 1, -4, 4)},
           .op = [p, targets](auto& in) { return cross_entropy(std::move(in[0]), targets, p.options); },
           .reference =
               [p](const auto& in) {
                 double weight = 0;
                 const Array each = reference::cross_entropy(in[0], p.targets, p.same, &weight);
                 return reduced(each, p.options.reduction, weight);
               },
           .depth = static_cast<double>(std::max(rows, classes)),
           .magnitude = 8});
    }
  }
  return cases;
}

FOVEA_GRADIENT_CASES(linear_cross_entropy) {
  std::vector<GradientCase> cases;
  const auto add = [&](const Variant& v, int64_t rows, int64_t width, int64_t classes) {
    const Problem p = problem(v, rows, classes);
    const Tensor targets = to_tensor(p.targets);
    cases.push_back(
        {.label = std::string(v.name) + " " + text(rows) + "x" + text(width) + "x" + text(classes),
         .inputs = {random_array({rows, width}, 1), random_array({classes, width}, 2),
                    random_array({classes}, 3)},
         .op = [p,
                targets](auto& in) { return linear_cross_entropy(in[0], in[1], in[2], targets, p.options); },
         .reference =
             [p](const auto& in) {
               double weight = 0;
               const Array logits = reference::linear(in[0], in[1], &in[2]);
               const Array each = reference::cross_entropy(logits, p.targets, p.same, &weight);
               return reduced(each, p.options.reduction, weight);
             },
         .depth = static_cast<double>(std::max({rows, width, classes})),
         .magnitude = 8});
  };
  for (const Variant& v : kVariants) {
    if (v.reduction == Reduction::kNone) continue;
    for (const auto& [rows, classes] : shapes()) add(v, rows, 5, classes);
  }
  add(kVariants[0], 300, 3, 9000);  // several chunks of rows
  return cases;
}

// Targets with a missing one now and then.
Array targets_with_gaps(std::vector<int64_t> dims) {
  Array t = random_array(std::move(dims), 8, 0, 1);
  for (int64_t i = 4; i < t.size(); i += 7) t.at(i) = std::numeric_limits<double>::quiet_NaN();
  return t;
}

template <class Op, class F>
std::vector<GradientCase> pointwise(Op op, F f) {
  std::vector<GradientCase> cases;
  for (const Reduction reduction : {Reduction::kMean, Reduction::kSum, Reduction::kNone}) {
    for (const int64_t n : awkward_sizes()) {
      const Array t = targets_with_gaps({n, 3});
      const Tensor targets = to_tensor(t);
      cases.push_back({.label = text(static_cast<int>(reduction)) + " " + text(n),
                       .inputs = {random_array({n, 3}, 1, -4, 4)},
                       .op = [op, targets, reduction](auto& in) { return op(in[0], targets, reduction); },
                       .reference =
                           [f, t, reduction](const auto& in) {
                             Array each = in[0];
                             double count = 0;
                             for (int64_t i = 0; i < each.size(); ++i) {
                               const bool missing = std::isnan(t.at(i));
                               each.at(i) = missing ? 0.0 : f(in[0].at(i), t.at(i), i % 3);
                               count += missing ? 0 : 1;
                             }
                             return reduced(each, reduction, count);
                           },
                       .depth = 16,
                       .magnitude = 4});
    }
  }
  return cases;
}

constexpr float kPositive[] = {1.0f, 2.5f, 0.5f};

FOVEA_GRADIENT_CASES(binary_cross_entropy) {
  return pointwise(
      [](const Var& x, const Tensor& t, Reduction r) {
        const Tensor weights = Tensor::from(std::span<const float>(kPositive), {3});
        return binary_cross_entropy(x, t, {weights, r});
      },
      [](double x, double t, int64_t c) {
        return -static_cast<double>(kPositive[c]) * t * std::log(reference::sigmoid(x)) -
               (1 - t) * std::log(reference::sigmoid(-x));
      });
}
FOVEA_GRADIENT_CASES(mean_squared_error) {
  return pointwise([](const Var& x, const Tensor& t, Reduction r) { return mean_squared_error(x, t, r); },
                   [](double x, double t, int64_t) { return (x - t) * (x - t); });
}
FOVEA_GRADIENT_CASES(huber) {
  return pointwise([](const Var& x, const Tensor& t, Reduction r) { return huber(x, t, 1.5f, r); },
                   [](double x, double t, int64_t) {
                     const double d = std::fabs(x - t);
                     return d <= 1.5 ? d * d / 2 : 1.5 * (d - 0.75);
                   });
}

TEST(Losses, NothingCountedIsZero) {
  const Var x = Var::parameter(Tensor::zeros({2, 3}));
  const Tensor ignored = to_tensor({-100, -100});
  Tape tape;
  const TapeScope scope(tape);
  const Var loss = cross_entropy(x, ignored);
  EXPECT_EQ(loss.value().data()[0], 0);
  tape.backward(loss);
  EXPECT_EQ(x.grad().data()[0], 0);
}

TEST(Losses, ExtremeLogitsStayFinite) {
  const Tensor x = Tensor::from({1e4f, -1e4f}, {1, 2});
  EXPECT_EQ(cross_entropy(x, to_tensor({0})).value().data()[0], 0);
  EXPECT_EQ(cross_entropy(x, to_tensor({1})).value().data()[0], 2e4f);
  EXPECT_EQ(binary_cross_entropy(x, Tensor::from({1.0f, 0.0f}, {1, 2})).value().data()[0], 0);
}

TEST(Losses, MisuseIsNamed) {
  const Var x = Tensor::zeros({2, 3});
  EXPECT_ERROR(cross_entropy(x, to_tensor({0, 3})), ArgumentError,
               "[cross_entropy] expected targets in [0, 3) or -100 (ignored), got 3 at 1");
  EXPECT_ERROR(cross_entropy(x, to_tensor({0})), ArgumentError,
               "[cross_entropy] expected targets of shape [2], got [1]");
  EXPECT_ERROR(
      linear_cross_entropy(x, Tensor::zeros({4, 3}), {}, to_tensor({0, 1}), {.reduction = Reduction::kNone}),
      ArgumentError, "[linear_cross_entropy] expected the reduction kMean or kSum, got kNone");
  EXPECT_ERROR(huber(x, Tensor::zeros({2, 3}), 0), ArgumentError, "[huber] expected delta > 0, got 0");
}

}  // namespace
}  // namespace fovea::autograd
