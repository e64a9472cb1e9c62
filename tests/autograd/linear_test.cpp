#include "fovea/autograd/functions/linear.hpp"

#include <gtest/gtest.h>

#include "fovea/base/error.hpp"
#include "tests/autograd/registry.hpp"
#include "tests/support/expect_error.hpp"

namespace fovea::autograd {
namespace {

struct Sizes {
  int64_t rows, in, out;
};

// Every awkward size in each of the three places.
std::vector<Sizes> sizes() {
  std::vector<Sizes> all;
  for (const int64_t n : awkward_sizes()) {
    all.push_back({n, 9, 5});
    all.push_back({4, n, 7});
    all.push_back({3, 6, n});
  }
  all.push_back({127, 65, 33});
  return all;
}

std::string label(const Sizes& s) {
  return std::to_string(s.rows) + "x" + std::to_string(s.in) + "x" + std::to_string(s.out);
}

double depth(const Sizes& s) {
  return static_cast<double>(std::max({s.rows, s.in, s.out}));
}

FOVEA_GRADIENT_CASES(linear) {
  std::vector<GradientCase> cases;
  for (const Sizes& s : sizes()) {
    cases.push_back({.label = label(s),
                     .inputs = {random_array({s.rows, s.in}, 1), random_array({s.out, s.in}, 2),
                                random_array({s.out}, 3)},
                     .op = [](auto& in) { return linear(in[0], in[1], in[2]); },
                     .reference = [](const auto& in) { return reference::linear(in[0], in[1], &in[2]); },
                     .depth = depth(s)});
  }
  cases.push_back({.label = "no bias",
                   .inputs = {random_array({5, 8}, 1), random_array({3, 8}, 2)},
                   .op = [](auto& in) { return linear(in[0], in[1]); },
                   .reference = [](const auto& in) { return reference::linear(in[0], in[1], nullptr); },
                   .depth = 8});
  return cases;
}

FOVEA_GRADIENT_CASES(linear_activation) {
  std::vector<GradientCase> cases;
  const auto add = [&](const Sizes& s, Activation act, double (*f)(double)) {
    cases.push_back(
        {.label = label(s) + " " + std::to_string(static_cast<int>(act)),
         .inputs = {random_array({s.rows, s.in}, 1), random_array({s.out, s.in}, 2),
                    random_array({s.out}, 3)},
         .op = [act](auto& in) { return linear_activation(in[0], in[1], in[2], act); },
         .reference =
             [f](const auto& in) { return reference::map(reference::linear(in[0], in[1], &in[2]), f); },
         .depth = depth(s) + 16,
         .magnitude = 4});  // the activations' own relative error of 1e-6 at the most
  };
  for (const Sizes& s : sizes()) add(s, Activation::kGelu, reference::gelu);
  const Sizes one{9, 17, 15};
  add(one, Activation::kGeluTanh, reference::gelu_tanh);
  add(one, Activation::kRelu, [](double x) { return std::max(x, 0.0); });
  add(one, Activation::kSilu, [](double x) { return x * reference::sigmoid(x); });
  add(one, Activation::kSigmoid, reference::sigmoid);
  add(one, Activation::kTanh, [](double x) { return std::tanh(x); });
  return cases;
}

FOVEA_GRADIENT_CASES(linear_add) {
  std::vector<GradientCase> cases;
  for (const Sizes& s : sizes()) {
    cases.push_back({.label = label(s),
                     .inputs = {random_array({s.rows, s.in}, 1), random_array({s.out, s.in}, 2),
                                random_array({s.out}, 3), random_array({s.rows, s.out}, 4)},
                     .op = [](auto& in) { return linear_add(in[0], in[1], in[2], std::move(in[3])); },
                     .reference =
                         [](const auto& in) {
                           Array y = reference::linear(in[0], in[1], &in[2]);
                           for (int64_t i = 0; i < y.size(); ++i) y.at(i) += in[3].at(i);
                           return y;
                         },
                     .depth = depth(s)});
  }
  return cases;
}

FOVEA_GRADIENT_CASES(matmul) {
  std::vector<GradientCase> cases;
  for (const Sizes& s : sizes()) {
    cases.push_back({.label = label(s),
                     .inputs = {random_array({s.rows, s.in}, 1), random_array({s.in, s.out}, 2)},
                     .op = [](auto& in) { return matmul(in[0], in[1]); },
                     .reference = [](const auto& in) { return reference::matmul(in[0], in[1]); },
                     .depth = depth(s)});
    cases.push_back({.label = label(s) + " transposed",
                     .inputs = {random_array({s.rows, s.in}, 1), random_array({s.out, s.in}, 2)},
                     .op = [](auto& in) { return matmul(in[0], in[1], true); },
                     .reference = [](const auto& in) { return reference::matmul(in[0], in[1], true); },
                     .depth = depth(s)});
  }
  return cases;
}

TEST(Linear, MisuseIsNamed) {
  const Var x = Tensor::zeros({2, 3});
  EXPECT_ERROR(linear(x, Tensor::zeros({4, 5})), ArgumentError,
               "[linear] expected x [T, in] and weight [out, in], got x [2, 3] and weight [4, 5]");
  EXPECT_ERROR(linear(x, Tensor::zeros({4, 3}), Tensor::zeros({3})), ArgumentError,
               "[linear] expected bias of shape [4], got [3]");
  EXPECT_ERROR(linear(Var(), Tensor::zeros({4, 3})), ArgumentError,
               "[linear] expected x of float32, got an undefined tensor");
  EXPECT_ERROR(matmul(x, x), ArgumentError, "[matmul] expected equal inner sizes, got a [2, 3] and b [2, 3]");
}

}  // namespace
}  // namespace fovea::autograd
