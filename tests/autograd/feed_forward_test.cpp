#include "fovea/autograd/functions/feed_forward.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "fovea/autograd/functions/activation.hpp"
#include "fovea/autograd/functions/dropout.hpp"
#include "fovea/autograd/functions/linear.hpp"
#include "fovea/autograd/tape.hpp"
#include "fovea/base/error.hpp"
#include "tests/autograd/registry.hpp"
#include "tests/support/expect_error.hpp"

namespace fovea::autograd {
namespace {

constexpr RandomKey kKey{5, 6};

struct Kind {
  const char* name;
  FeedForwardOptions options;
  double (*f)(double);
};

const Kind kKinds[] = {
    {"gelu", {}, reference::gelu},
    {"relu", {.activation = Activation::kRelu}, [](double x) { return std::max(x, 0.0); }},
    {"tanh", {.activation = Activation::kTanh}, [](double x) { return std::tanh(x); }},
    {"sigmoid", {.activation = Activation::kSigmoid}, reference::sigmoid},
    {"gelu_tanh", {.activation = Activation::kGeluTanh}, reference::gelu_tanh},
    {"swiglu",
     {.activation = Activation::kSilu, .form = FeedForwardForm::kGated},
     [](double x) { return x * reference::sigmoid(x); }},
    {"geglu dropout",
     {.activation = Activation::kGelu, .form = FeedForwardForm::kGated, .dropout = 0.5f, .dropout_key = kKey},
     reference::gelu},
    {"gelu dropout", {.dropout = 0.25f, .dropout_key = kKey}, reference::gelu}};

Array naive(const FeedForwardOptions& o, double (*f)(double), const std::vector<Array>& in) {
  const Array h = reference::linear(in[0], in[1], &in[2]);
  const int64_t width = in[3].dim(1);
  Array a = reference::zeros({h.dim(0), width});
  const auto p = static_cast<double>(o.dropout);
  for (int64_t i = 0; i < a.size(); ++i) {
    const int64_t r = i / width;
    const int64_t c = i % width;
    const double gate = o.form == FeedForwardForm::kGated ? h.at(r, width + c) : 1.0;
    const uint32_t word = kKey.block(static_cast<uint64_t>(i) / 4)[static_cast<size_t>(i % 4)];
    a.at(i) = static_cast<double>(word) >= p * 4294967296.0 ? f(h.at(r, c)) * gate / (1 - p) : 0.0;
  }
  return reference::linear(a, in[3], &in[4]);
}

FOVEA_GRADIENT_CASES(feed_forward) {
  std::vector<GradientCase> cases;
  const auto add = [&](const Kind& k, int64_t rows, int64_t in, int64_t width, int64_t out) {
    const int64_t up = k.options.form == FeedForwardForm::kGated ? 2 * width : width;
    cases.push_back({.label = std::string(k.name) + " " + std::to_string(rows) + "x" + std::to_string(width),
                     .inputs = {random_array({rows, in}, 1), random_array({up, in}, 2), random_array({up}, 3),
                                random_array({out, width}, 4), random_array({out}, 5)},
                     .op = [o = k.options](auto& v) { return feed_forward(v[0], v[1], v[2], v[3], v[4], o); },
                     .reference = [k](const auto& v) { return naive(k.options, k.f, v); },
                     .depth = static_cast<double>(16 + std::max({rows, in, width, out})),
                     .magnitude = 8});  // h reaches about 4, its square in the gated form 8
  };
  for (const Kind& k : kKinds) {
    for (const int64_t n : awkward_sizes()) {
      add(k, n, 5, 6, 4);
      if (n < 200) add(k, 4, 5, n, 3);
    }
    add(k, 400, 5, 600, 4);  // several chunks of rows
  }
  return cases;
}

// The composed definition, bit for bit, forward and backward; few rows, and enough for several chunks.
void expect_equals_its_parts(int64_t rows, int64_t width) {
  for (const Kind& k : kKinds) {
    const bool gated = k.options.form == FeedForwardForm::kGated;
    const Var x = Var::parameter(to_tensor(random_array({rows, 17}, 1)));
    const Var up = Var::parameter(to_tensor(random_array({gated ? 2 * width : width, 17}, 2)));
    const Var down = Var::parameter(to_tensor(random_array({9, width}, 3)));
    const auto gradients = [&](bool fused) {
      Tape tape;
      const TapeScope scope(tape);
      Var y;
      if (fused) {
        y = feed_forward(x, up, {}, down, {}, k.options);
      } else {
        const Activation act = k.options.activation;
        Var a = gated ? glu(linear(x, up), act) : linear_activation(x, up, {}, act);
        y = linear(dropout(std::move(a), k.options.dropout, k.options.dropout_key), down);
      }
      std::vector<Tensor> all{y.value()};
      tape.backward_from(y, to_tensor(random_array({rows, 9}, 4)));
      for (Var v : {x, up, down}) {
        all.push_back(v.grad().clone());
        v.clear_grad();
      }
      return all;
    };
    const std::vector<Tensor> fused = gradients(true);
    const std::vector<Tensor> parts = gradients(false);
    for (size_t i = 0; i < fused.size(); ++i) {
      EXPECT_EQ(std::memcmp(fused[i].raw(), parts[i].raw(), static_cast<size_t>(parts[i].nbytes())), 0)
          << k.name << " " << i;
    }
  }
}

TEST(FeedForward, EqualsItsParts) {
  expect_equals_its_parts(33, 31);
  expect_equals_its_parts(400, 600);
}

TEST(FeedForward, MisuseIsNamed) {
  const Var x = Tensor::zeros({2, 3});
  EXPECT_ERROR(feed_forward(x, Tensor::zeros({4, 3}), {}, Tensor::zeros({3, 4}), {},
                            {.form = FeedForwardForm::kGated}),
               ArgumentError,
               "[feed_forward] expected x [T, C], up [2·F, C] and down [C', F], got x [2, 3], up [4, 3] and "
               "down [3, 4]");
}

}  // namespace
}  // namespace fovea::autograd
