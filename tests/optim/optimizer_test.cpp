#include "fovea/optim/optimizer.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "fovea/base/error.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/base/random.hpp"
#include "fovea/optim/average.hpp"
#include "fovea/optim/gradient.hpp"

namespace fovea::optim {
namespace {

using autograd::Var;

void set_grad(const Var& p, const std::function<float(int64_t)>& g) {
  Tensor grad = p.node()->target().grad;
  for (int64_t i = 0; i < grad.numel(); ++i) grad.data()[i] = g(i);
}

std::vector<ParameterGroup> one_group(const Var& p, double decay) {
  return {ParameterGroup{.parameters = {{"p", p}}, .weight_decay = decay}};
}

// Five updates of p = (0.5, −1, 2, 0.25) with gradient p·(1, 2, −0.5, 3) + (t + 1)·(0.1, −0.2, 0.3, −0.4).
std::vector<float> five_updates(const Var& p, Optimizer& optimizer, double rate) {
  const float a[] = {1.F, 2.F, -.5F, 3.F};
  const float b[] = {.1F, -.2F, .3F, -.4F};
  for (int t = 0; t < 5; ++t) {
    optimizer.zero_grad();
    set_grad(p, [&](int64_t i) { return p.value().data()[i] * a[i] + b[i] * static_cast<float>(t + 1); });
    optimizer.step(rate);
  }
  return {p.value().data(), p.value().data() + 4};
}

Var start() {
  return Var::parameter(Tensor::from({.5F, -1.F, 2.F, .25F}, {4}));
}

// The goldens were printed by PyTorch 2.13 for the same gradients. Five updates of a few roundings each,
// values around 1: 5 · 8 · 2^-24 < 3e-6; Adam divides by √v, which doubles it.
void expect_near(const std::vector<float>& got, const std::vector<float>& golden) {
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(got[i], golden[i], 6e-6F) << i;
}

TEST(Sgd, EqualsPyTorch) {
  Var p = start();
  expect_near(five_updates(p, *make_sgd(one_group(p, .05), {.momentum = .9F}), .1),
              {-0.300911874F, 1.05062568F, 2.29178596F, 0.568729222F});
  p = start();
  expect_near(five_updates(p, *make_sgd(one_group(p, 0), {.momentum = .9F, .nesterov = true}), .1),
              {-0.382118106F, 0.916366816F, 2.55672765F, 0.679782569F});
  p = start();
  expect_near(five_updates(p, *make_sgd(one_group(p, 0), {.momentum = 0}), .1),
              {0.16380398F, -0.0966079831F, 2.07141542F, 0.449861497F});
}

TEST(Adam, EqualsPyTorch) {
  Var p = start();
  expect_near(five_updates(p, *make_adam(one_group(p, .1)), .05),
              {0.249057472F, -0.749318302F, 2.11775446F, 0.278851867F});
  p = start();
  expect_near(five_updates(p, *make_adamw(one_group(p, .1), {.beta2 = .99F}), .05),
              {0.239241034F, -0.727131188F, 2.12599921F, 0.280807704F});
}

TEST(Optimizer, GroupsDecayOnlyWhatMay) {
  const Var w = Var::parameter(Tensor::full({3}, 1));
  const Var b = Var::parameter(Tensor::full({3}, 1));
  const nn::Parameters parameters{{"w", w, nn::Decay::kYes}, {"b", b, nn::Decay::kNo}};
  auto optimizer = make_adamw(decay_groups(parameters, 0.5));
  set_grad(w, [](int64_t) { return 0.F; });
  set_grad(b, [](int64_t) { return 0.F; });
  optimizer->step(0.1);
  EXPECT_FLOAT_EQ(w.value().data()[0], 0.95F);
  EXPECT_EQ(b.value().data()[0], 1.F);
}

TEST(Optimizer, ParameterWithoutGradientStays) {
  const Var p = start();
  auto optimizer = make_adamw(one_group(p, .1));
  optimizer->step(1.0);
  EXPECT_EQ(p.value().data()[0], .5F);
  EXPECT_EQ(optimizer->steps(), 1);
}

TEST(Optimizer, ResumesExactly) {
  const Var a = start();
  auto whole = make_adamw(one_group(a, .1));
  (void)five_updates(a, *whole, .05);

  const Var b = Var::parameter(a.value().clone());
  auto resumed = make_adamw(one_group(b, .1));
  OptimizerState state = whole->state();
  EXPECT_EQ(state.tensors.at(0).name, "p.first_moment");
  resumed->load_state(state);
  const std::vector<float> x = five_updates(a, *whole, .05);
  EXPECT_EQ(x, five_updates(b, *resumed, .05));

  state.tensors.pop_back();
  try {
    resumed->load_state(state);
    FAIL();
  } catch (const ArgumentError& e) {
    EXPECT_STREQ(e.what(), "[optimizer.load_state] expected a tensor p.second_moment, got none");
  }
}

TEST(Optimizer, SameBitsForAnyNumberOfThreadsAndNoAllocation) {
  std::vector<float> first;
  const int before = get_num_threads();
  for (const int threads : {1, 2, 3, 8}) {
    set_num_threads(threads);
    nn::Parameters parameters;
    Random random(7);
    for (const int64_t n : {1, 1000, 65537, 200000}) {
      Tensor t = Tensor::empty({n});
      for (float& v : t.span()) v = random.uniform() - 0.5F;
      parameters.push_back({std::to_string(n), Var::parameter(std::move(t)), nn::Decay::kYes});
    }
    auto optimizer = make_adamw(decay_groups(parameters, .1));
    int64_t allocations = 0;
    for (int step = 0; step < 5; ++step) {
      if (step == 2) allocations = memory_stats().system_allocations;
      optimizer->zero_grad();
      for (const nn::Parameter& p : parameters) {
        set_grad(p.var, [&](int64_t i) { return p.var.value().data()[i] * 3.F; });
      }
      EXPECT_GT(clip_gradient_norm(optimizer->parameters(), 1.0), 1.0);
      optimizer->step(1e-2);
    }
    EXPECT_EQ(memory_stats().system_allocations, allocations);
    std::vector<float> all;
    for (const nn::Parameter& p : parameters)
      all.insert(all.end(), p.var.value().span().begin(), p.var.value().span().end());
    if (first.empty()) first = all;
    EXPECT_TRUE(first == all) << threads;
  }
  set_num_threads(before);
}

TEST(Optimizer, MisuseIsNamed) {
  const Var p = start();
  EXPECT_THROW(make_adamw(one_group(Var(Tensor::zeros({2})), 0)), ArgumentError);
  EXPECT_THROW(make_adamw({{{{"a", p}, {"b", p}}}}), ArgumentError);
  EXPECT_THROW(make_adam(one_group(p, 0), {.beta1 = 1.F}), ArgumentError);
  EXPECT_THROW(make_sgd(one_group(p, 0), {.momentum = 0, .nesterov = true}), ArgumentError);
  auto optimizer = make_sgd(one_group(p, 0));
  EXPECT_THROW(optimizer->step(-1), ArgumentError);
  EXPECT_THROW(optimizer->step(NAN), ArgumentError);
}

TEST(Gradient, NormIsClippedAndNonFiniteIsLeft) {
  const Var a = Var::parameter(Tensor::zeros({2}));
  const Var b = Var::parameter(Tensor::zeros({1}));
  const Var none = Var::parameter(Tensor::zeros({1}));
  const nn::Parameters parameters{{"a", a}, {"b", b}, {"none", none}};
  EXPECT_EQ(gradient_norm(parameters), 0.0);
  EXPECT_EQ(largest_gradient(parameters).name, "");
  set_grad(a, [](int64_t i) { return i == 0 ? 2.F : 6.F; });
  set_grad(b, [](int64_t) { return -9.F; });
  EXPECT_DOUBLE_EQ(clip_gradient_norm(parameters, 100), 11.0);
  EXPECT_EQ(b.grad().data()[0], -9.F);
  EXPECT_EQ(largest_gradient(parameters).name, "b");
  EXPECT_DOUBLE_EQ(clip_gradient_norm(parameters, 1), 11.0);
  EXPECT_NEAR(gradient_norm(parameters), 1.0, 1e-6);
  set_grad(a, [](int64_t i) { return i == 0 ? INFINITY : 6.F; });
  EXPECT_FALSE(std::isfinite(clip_gradient_norm(parameters, 1)));
  EXPECT_EQ(a.grad().data()[1], 6.F);
  EXPECT_EQ(largest_gradient(parameters).name, "a");
}

TEST(MovingAverage, FollowsTheFormulaAndSwapsBack) {
  const Var p = Var::parameter(Tensor::full({3}, 1));
  MovingAverage average({{"p", p}}, 0.999);
  double expected = 1.0;
  for (int t = 1; t <= 4; ++t) {
    Tensor value = p.value();
    value.fill(1.0 + t);
    average.update();
    const double d = (1.0 + t) / (10.0 + t);
    expected = d * expected + (1 - d) * (1.0 + t);
  }
  {
    const AveragedScope scope(&average);
    EXPECT_NEAR(p.value().data()[2], expected, 1e-6);
  }
  EXPECT_EQ(p.value().data()[2], 5.F);
  MovingAverage other({{"p", p}}, 0.999);
  other.load_state(average.state());
  EXPECT_EQ(other.updates(), 4);
}

}  // namespace
}  // namespace fovea::optim
