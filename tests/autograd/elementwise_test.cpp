#include <gtest/gtest.h>

#include "fovea/autograd/functions/activation.hpp"
#include "fovea/autograd/functions/arithmetic.hpp"
#include "fovea/autograd/functions/dropout.hpp"
#include "fovea/autograd/tape.hpp"
#include "fovea/base/error.hpp"
#include "tests/autograd/registry.hpp"
#include "tests/support/expect_error.hpp"

namespace fovea::autograd {
namespace {

std::string text(int64_t n) {
  return std::to_string(n);
}

// f elementwise over two arrays of one shape, or over a matrix and a row.
template <class F>
Array zip(const Array& a, const Array& b, F&& f) {
  Array y = a;
  for (int64_t i = 0; i < y.size(); ++i) y.at(i) = f(a.at(i), b.at(i % b.size()));
  return y;
}

// A binary operation on equal shapes and, where `rows`, on one row.
std::vector<GradientCase> binary(Var (*op)(std::vector<Var>&), double (*f)(double, double), bool rows) {
  std::vector<GradientCase> cases;
  const auto add = [&](std::vector<int64_t> a, std::vector<int64_t> b) {
    cases.push_back({.label = text(a[0]) + "x" + text(a.back()) + (a == b ? "" : " row"),
                     .inputs = {random_array(a, 1), random_array(b, 2)},
                     .op = op,
                     .reference = [f](const auto& in) { return zip(in[0], in[1], f); },
                     .depth = static_cast<double>(a == b ? 2 : a[0])});
  };
  for (const int64_t n : awkward_sizes()) {
    add({n, 3}, {n, 3});
    if (rows) add({n, 5}, {5});
    if (rows) add({4, n}, {n});
  }
  add({70000}, {70000});  // long enough to be threaded
  return cases;
}

FOVEA_GRADIENT_CASES(add) {
  return binary([](auto& in) { return add(std::move(in[0]), in[1]); },
                [](double a, double b) { return a + b; }, true);
}
FOVEA_GRADIENT_CASES(subtract) {
  return binary([](auto& in) { return subtract(std::move(in[0]), in[1]); },
                [](double a, double b) { return a - b; }, false);
}
FOVEA_GRADIENT_CASES(multiply) {
  return binary([](auto& in) { return multiply(in[0], in[1]); }, [](double a, double b) { return a * b; },
                true);
}

FOVEA_GRADIENT_CASES(scale) {
  std::vector<GradientCase> cases;
  for (const int64_t n : awkward_sizes()) {
    cases.push_back({.label = text(n),
                     .inputs = {random_array({n}, 1)},
                     .op = [](auto& in) { return scale(std::move(in[0]), -1.7f); },
                     .reference =
                         [](const auto& in) {
                           return reference::map(in[0],
                                                 [](double x) { return static_cast<double>(-1.7f) * x; });
                         }});
  }
  return cases;
}

FOVEA_GRADIENT_CASES(scale_rows) {
  std::vector<GradientCase> cases;
  for (const int64_t n : awkward_sizes()) {
    for (const bool tall : {true, false}) {
      const int64_t rows = tall ? n : 4;
      const int64_t cols = tall ? 5 : n;
      cases.push_back({.label = text(rows) + "x" + text(cols),
                       .inputs = {random_array({rows, cols}, 1), random_array({rows}, 2)},
                       .op = [](auto& in) { return scale_rows(in[0], in[1]); },
                       .reference =
                           [](const auto& in) {
                             Array y = in[0];
                             for (int64_t i = 0; i < y.size(); ++i) y.at(i) *= in[1].at(i / y.dim(1));
                             return y;
                           },
                       .depth = static_cast<double>(cols)});
    }
  }
  return cases;
}

Array total(const Array& x, double factor) {
  Array y = reference::zeros({1});
  for (const double v : x.data) y.at(0) += factor * v;
  return y;
}

FOVEA_GRADIENT_CASES(sum) {
  std::vector<GradientCase> cases;
  for (const int64_t n : awkward_sizes()) {
    cases.push_back({.label = text(n),
                     .inputs = {random_array({n, 3}, 1)},
                     .op = [](auto& in) { return sum(in[0]); },
                     .reference = [](const auto& in) { return total(in[0], 1); },
                     .depth = static_cast<double>(n)});
  }
  return cases;
}
FOVEA_GRADIENT_CASES(mean) {
  std::vector<GradientCase> cases;
  for (const int64_t n : awkward_sizes()) {
    cases.push_back({.label = text(n),
                     .inputs = {random_array({n, 3}, 1)},
                     .op = [](auto& in) { return mean(in[0]); },
                     .reference =
                         [](const auto& in) {
                           return total(in[0], 1 / std::max(1.0, static_cast<double>(in[0].size())));
                         },
                     .depth = static_cast<double>(n)});
  }
  return cases;
}

struct Named {
  Activation act;
  double (*f)(double);
};
const Named kActivations[] = {{Activation::kRelu, [](double x) { return std::max(x, 0.0); }},
                              {Activation::kGelu, reference::gelu},
                              {Activation::kGeluTanh, reference::gelu_tanh},
                              {Activation::kSilu, [](double x) { return x * reference::sigmoid(x); }},
                              {Activation::kSigmoid, reference::sigmoid},
                              {Activation::kTanh, [](double x) { return std::tanh(x); }}};

FOVEA_GRADIENT_CASES(activation) {
  std::vector<GradientCase> cases;
  for (const Named& a : kActivations) {
    for (const int64_t n : awkward_sizes()) {
      cases.push_back({.label = text(static_cast<int>(a.act)) + " " + text(n),
                       .inputs = {random_array({n}, 1, -6, 6)},
                       .op = [act = a.act](auto& in) { return activation(std::move(in[0]), act); },
                       .reference = [f = a.f](const auto& in) { return reference::map(in[0], f); },
                       .depth = 16});  // the kernels promise a relative error of 1e-6
    }
  }
  return cases;
}

FOVEA_GRADIENT_CASES(glu) {
  std::vector<GradientCase> cases;
  for (const Named& a : kActivations) {
    for (const int64_t n : awkward_sizes()) {
      cases.push_back({.label = text(static_cast<int>(a.act)) + " " + text(n),
                       .inputs = {random_array({3, 2 * n}, 1, -3, 3)},
                       .op = [act = a.act](auto& in) { return glu(in[0], act); },
                       .reference =
                           [f = a.f](const auto& in) {
                             const int64_t cols = in[0].dim(1) / 2;
                             Array y = reference::zeros({in[0].dim(0), cols});
                             for (int64_t r = 0; r < y.dim(0); ++r) {
                               for (int64_t c = 0; c < cols; ++c)
                                 y.at(r, c) = f(in[0].at(r, c)) * in[0].at(r, cols + c);
                             }
                             return y;
                           },
                       .depth = 16,
                       .magnitude = 3});
    }
  }
  return cases;
}

constexpr RandomKey kKey{17, 3};

// Whether word i of the key's stream keeps its element.
double kept(int64_t i, double p) {
  const uint32_t word = kKey.block(static_cast<uint64_t>(i) / 4)[static_cast<size_t>(i % 4)];
  return static_cast<double>(word) >= p * 4294967296.0 ? 1 / (1 - p) : 0.0;
}

FOVEA_GRADIENT_CASES(dropout) {
  std::vector<GradientCase> cases;
  for (const int64_t n : awkward_sizes()) {
    cases.push_back({.label = text(n),
                     .inputs = {random_array({n}, 1)},
                     .op = [](auto& in) { return dropout(std::move(in[0]), 0.25f, kKey); },
                     .reference =
                         [](const auto& in) {
                           Array y = in[0];
                           for (int64_t i = 0; i < y.size(); ++i) y.at(i) *= kept(i, 0.25);
                           return y;
                         }});
  }
  return cases;
}
FOVEA_GRADIENT_CASES(dropout_add) {
  std::vector<GradientCase> cases;
  for (const int64_t n : awkward_sizes()) {
    for (const float p : {0.0f, 0.5f}) {
      cases.push_back({.label = text(n),
                       .inputs = {random_array({n, 2}, 1), random_array({n, 2}, 2)},
                       .op = [p](auto& in) { return dropout_add(in[0], std::move(in[1]), p, kKey); },
                       .reference =
                           [p](const auto& in) {
                             Array y = in[1];
                             for (int64_t i = 0; i < y.size(); ++i)
                               y.at(i) += in[0].at(i) * kept(i, static_cast<double>(p));
                             return y;
                           }});
    }
  }
  return cases;
}
FOVEA_GRADIENT_CASES(dropout_rows) {
  std::vector<GradientCase> cases;
  for (const int64_t n : awkward_sizes()) {
    cases.push_back({.label = text(n),
                     .inputs = {random_array({n, 3}, 1)},
                     .op = [](auto& in) { return dropout_rows(std::move(in[0]), 0.5f, kKey); },
                     .reference =
                         [](const auto& in) {
                           Array y = in[0];
                           for (int64_t i = 0; i < y.size(); ++i) y.at(i) *= kept(i / 3, 0.5);
                           return y;
                         }});
  }
  return cases;
}

TEST(Elementwise, NothingHeldElsewhereIsOverwritten) {
  const Tensor x = Tensor::full({4}, 2);
  const Var held(x);
  EXPECT_EQ(scale(held, 3).value().data()[0], 6);
  EXPECT_EQ(add(held, held).value().data()[0], 4);
  EXPECT_EQ(activation(held, Activation::kTanh).value().numel(), 4);
  EXPECT_EQ(x.data()[0], 2);
}

TEST(Elementwise, ATemporaryLendsItsMemory) {
  Tensor x = Tensor::full({4}, 2);
  const float* memory = x.data();
  EXPECT_EQ(scale(Var(std::move(x)), 3).value().data(), memory);
}

TEST(Elementwise, MisuseIsNamed) {
  const Var x = Tensor::zeros({2, 3});
  EXPECT_ERROR(add(x, Tensor::zeros({2})), ArgumentError,
               "[add] expected b of a's shape or one row of it, got [2, 3] and [2]");
  EXPECT_ERROR(subtract(x, Tensor::zeros({3})), ArgumentError,
               "[subtract] expected inputs of one shape, got [2, 3] and [3]");
  EXPECT_ERROR(dropout(x, 1.0f, kKey), ArgumentError, "[dropout] expected a probability in [0, 1), got 1");
  EXPECT_ERROR(glu(x, Activation::kGelu), ArgumentError, "[glu] expected x [T, 2·C], got [2, 3]");
  EXPECT_ERROR(scale(Tensor::zeros({2}, DType::kF64), 2), ArgumentError,
               "[scale] expected x of float32, got float64");
}

}  // namespace
}  // namespace fovea::autograd
