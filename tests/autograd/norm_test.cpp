#include "fovea/autograd/functions/norm.hpp"

#include <gtest/gtest.h>

#include "fovea/autograd/functions/arithmetic.hpp"
#include "fovea/autograd/functions/softmax.hpp"
#include "fovea/base/error.hpp"
#include "tests/autograd/registry.hpp"
#include "tests/support/expect_error.hpp"

namespace fovea::autograd {
namespace {

constexpr double kEps = 0.01;  // large, so that rows of one or two columns have derivatives of ordinary size

std::vector<std::pair<int64_t, int64_t>> shapes() {
  std::vector<std::pair<int64_t, int64_t>> all;
  for (const int64_t n : awkward_sizes()) {
    all.emplace_back(n, 6);
    if (n > 0) all.emplace_back(3, n);
  }
  all.emplace_back(65, 127);
  return all;
}

GradientCase base(int64_t rows, int64_t cols) {
  return {.label = std::to_string(rows) + "x" + std::to_string(cols),
          .inputs = {random_array({rows, cols}, 1), random_array({cols}, 2), random_array({cols}, 3)},
          .op = {},
          .reference = {},
          .depth = static_cast<double>(std::max(rows, cols)),
          .magnitude = 4};  // x − mean and x·rstd stay below 4 for inputs in [−1, 1]
}

constexpr auto kEpsF = static_cast<float>(kEps);
const double kEpsD = static_cast<double>(kEpsF);

FOVEA_GRADIENT_CASES(layer_norm) {
  std::vector<GradientCase> cases;
  for (const auto& [rows, cols] : shapes()) {
    GradientCase c = base(rows, cols);
    c.op = [](auto& in) { return layer_norm(in[0], in[1], in[2], kEpsF); };
    c.reference = [](const auto& in) { return reference::norm(in[0], &in[1], &in[2], kEpsD, true); };
    cases.push_back(c);
    c.inputs.resize(1);
    c.label += " plain";
    c.op = [](auto& in) { return layer_norm(in[0], {}, {}, kEpsF); };
    c.reference = [](const auto& in) { return reference::norm(in[0], nullptr, nullptr, kEpsD, true); };
    cases.push_back(c);
  }
  return cases;
}

FOVEA_GRADIENT_CASES(rms_norm) {
  std::vector<GradientCase> cases;
  for (const auto& [rows, cols] : shapes()) {
    GradientCase c = base(rows, cols);
    c.inputs.resize(2);
    c.op = [](auto& in) { return rms_norm(in[0], in[1], kEpsF); };
    c.reference = [](const auto& in) { return reference::norm(in[0], &in[1], nullptr, kEpsD, false); };
    cases.push_back(c);
  }
  return cases;
}

Array plus(Array a, const Array& b, double factor = 1) {
  for (int64_t i = 0; i < a.size(); ++i) a.at(i) += factor * b.at(i);
  return a;
}

// Both outputs at once: norm + sum/2.
FOVEA_GRADIENT_CASES(add_layer_norm) {
  std::vector<GradientCase> cases;
  for (const auto& [rows, cols] : shapes()) {
    GradientCase c = base(rows, cols);
    c.inputs.push_back(random_array({rows, cols}, 4));
    c.op = [](auto& in) {
      const SumAndNorm both = add_layer_norm(std::move(in[0]), std::move(in[3]), in[1], in[2], kEpsF);
      return add(both.norm, scale(both.sum, 0.5f));
    };
    c.reference = [](const auto& in) {
      const Array total = plus(in[0], in[3]);
      return plus(reference::norm(total, &in[1], &in[2], kEpsD, true), total, 0.5);
    };
    cases.push_back(c);
  }
  return cases;
}

FOVEA_GRADIENT_CASES(add_rms_norm) {
  std::vector<GradientCase> cases;
  for (const auto& [rows, cols] : shapes()) {
    GradientCase c = base(rows, cols);
    c.inputs[2] = random_array({rows, cols}, 4);
    c.op = [](auto& in) {
      const SumAndNorm both = add_rms_norm(std::move(in[0]), in[2], in[1], kEpsF);
      return add(both.norm, scale(both.sum, 0.5f));
    };
    c.reference = [](const auto& in) {
      const Array total = plus(in[0], in[2]);
      return plus(reference::norm(total, &in[1], nullptr, kEpsD, false), total, 0.5);
    };
    cases.push_back(c);
  }
  return cases;
}

FOVEA_GRADIENT_CASES(softmax) {
  std::vector<GradientCase> cases;
  for (const auto& [rows, cols] : shapes()) {
    GradientCase c = base(rows, cols);
    c.inputs = {random_array({rows, cols}, 1, -5, 5)};
    c.op = [](auto& in) { return softmax(in[0]); };
    c.reference = [](const auto& in) {
      return reference::map(reference::log_softmax(in[0]), [](double x) { return std::exp(x); });
    };
    c.magnitude = 8;  // the exponent's argument reaches 10, its rounding is that of 8
    cases.push_back(c);
  }
  return cases;
}

FOVEA_GRADIENT_CASES(log_softmax) {
  std::vector<GradientCase> cases;
  for (const auto& [rows, cols] : shapes()) {
    GradientCase c = base(rows, cols);
    c.inputs = {random_array({rows, cols}, 1, -5, 5)};
    c.op = [](auto& in) { return log_softmax(in[0]); };
    c.reference = [](const auto& in) { return reference::log_softmax(in[0]); };
    c.magnitude = 8;
    cases.push_back(c);
  }
  return cases;
}

FOVEA_GRADIENT_CASES(segment_softmax) {
  std::vector<GradientCase> cases;
  for (const int64_t n : awkward_sizes()) {
    const Offsets offsets = awkward_offsets(n);
    cases.push_back({.label = std::to_string(n),
                     .inputs = {random_array({n}, 1, -5, 5)},
                     .op = [offsets](auto& in) { return segment_softmax(in[0], offsets); },
                     .reference =
                         [offsets](const auto& in) {
                           Array y = in[0];
                           for (int64_t s = 0; s < offsets.count(); ++s) {
                             const double lse = reference::log_sum_exp(in[0].data.data() + offsets.begin(s),
                                                                       offsets.length(s));
                             for (int64_t t = offsets.begin(s); t < offsets.end(s); ++t)
                               y.at(t) = std::exp(y.at(t) - lse);
                           }
                           return y;
                         },
                     .depth = 64,
                     .magnitude = 8});
  }
  return cases;
}

TEST(Norm, MisuseIsNamed) {
  const Var x = Tensor::zeros({2, 3});
  EXPECT_ERROR(layer_norm(x, Tensor::zeros({2}), {}), ArgumentError,
               "[layer_norm] expected gamma of shape [3], got [2]");
  EXPECT_ERROR(rms_norm(Tensor::zeros({3}), {}), ArgumentError, "[rms_norm] expected x of rank 2, got [3]");
  EXPECT_ERROR(add_layer_norm(x, Tensor::zeros({3, 3}), {}, {}), ArgumentError,
               "[add_layer_norm] expected inputs of one shape, got [2, 3] and [3, 3]");
}

}  // namespace
}  // namespace fovea::autograd
