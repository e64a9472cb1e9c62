// Optimisers: how gradients become updates. One call updates every parameter with fused kernels, in one
// parallel pass whose cut depends on sizes alone: the same bits for any number of threads.
//
//   auto optimizer = optim::make_adamw(optim::decay_groups(model.parameters(), 0.1), {.beta2 = 0.99});
//   tape.backward(loss);
//   optim::clip_gradient_norm(optimizer->parameters(), 1.0);
//   optimizer->step(schedule(step));
//   optimizer->zero_grad();
//
// An optimiser owns its moments and shares the parameters. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fovea/kernels/optimizer.hpp"
#include "fovea/nn/parameter.hpp"
#include "fovea/tensor/tensor.hpp"

namespace fovea::optim {

// Parameters that are trained alike. ArgumentError from an optimiser for a weight decay or scale that is
// negative or not finite.
struct ParameterGroup {
  nn::Parameters parameters;         // float32, each in one group only
  double weight_decay = 0.0;         // λ of the optimisers below
  double learning_rate_scale = 1.0;  // of the rate given to step(): layer-wise rates, slower embeddings
};

// Two groups: parameters that may decay, with `weight_decay`, and those that may not (see nn::Decay), with
// none.
std::vector<ParameterGroup> decay_groups(const nn::Parameters& parameters, double weight_decay);

// One moment of one parameter, named "<parameter>.<moment>": "head.weight.first_moment".
struct NamedTensor {
  // Of the moment, and its elements.
  std::string name;
  Tensor tensor;
};
// All that a resumed run needs to continue bit for bit. Tensors are shared with the optimiser, not copied.
struct OptimizerState {
  int64_t steps = 0;                 // the count of updates
  std::vector<NamedTensor> tensors;  // parameter by parameter, in the order of the groups
};

// What make_sgd and its like give. Derive from it for a rule of your own: apply() is all that is asked.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  // "sgd", "adam", "adamw": as recipes name it.
  virtual const char* name() const = 0;
  // One update with this learning rate. A parameter without a gradient stays as it is, moments too.
  // ArgumentError if the rate is negative or not finite.
  void step(double learning_rate);
  // Forgets every gradient; buffers stay where they are.
  void zero_grad();

  int64_t steps() const { return steps_; }  // updates made
  // Every parameter, in the order of the groups.
  std::span<const nn::Parameter> parameters() const { return parameters_; }

  // For a checkpoint.
  OptimizerState state() const;
  // Copies from a state() of the same parameters. ArgumentError names what is missing, unknown or of another
  // shape.
  void load_state(const OptimizerState& state);

 protected:
  // At most two moments, e.g. {"momentum"}, are zero tensors of each parameter's shape.
  // ArgumentError for a parameter without gradient node, not float32, or given twice.
  Optimizer(std::vector<ParameterGroup> groups, std::vector<std::string> moments);

  // `update` counts from 1. Items are the parameters that have a gradient.
  virtual void apply(std::span<const kernels::OptimizerTensor> items, float learning_rate,
                     int64_t update) = 0;

 private:
  std::vector<NamedTensor> named_moments() const;

  nn::Parameters parameters_;
  std::vector<float> weight_decay_;
  std::vector<float> learning_rate_scale_;
  std::vector<std::string> moment_names_;
  std::vector<Tensor> moments_;                  // parameter-major
  std::vector<kernels::OptimizerTensor> items_;  // kept, so that a steady step allocates nothing
  int64_t steps_ = 0;
};

// How gradient descent remembers.
struct SgdOptions {
  float momentum = 0.9F;  // μ, in [0, 1); 0 keeps no velocity. 0.9 is customary
  bool nesterov = false;  // needs momentum > 0
};
// Stochastic gradient descent. With weight decay λ in the gradient: g ← g + λθ;  v ← μv + g (v = g at the
// first update);  θ ← θ − η(g + μv if nesterov else v), as in Sutskever et al. 2013 in PyTorch's form.
// ArgumentError unless 0 <= momentum < 1; nesterov needs momentum > 0.
std::unique_ptr<Optimizer> make_sgd(std::vector<ParameterGroup> groups, const SgdOptions& options = {});

// Adam's constants: Kingma and Ba's own.
struct AdamOptions {
  float beta1 = 0.9F;     // of the mean of gradients, in [0, 1)
  float beta2 = 0.999F;   // of the mean of their squares, in [0, 1)
  float epsilon = 1e-8F;  // > 0; keeps the step finite where gradients vanish
};
// Adam (Kingma and Ba 2015): m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², θ ← θ − η m̂ / (√v̂ + ε) with m̂ =
// m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ). Weight decay joins the gradient (make_adam) or acts on the weight, θ ← θ(1 − ηλ),
// before the update (make_adamw; Loshchilov and Hutter 2019). ArgumentError unless
// 0 <= β < 1 and ε > 0.
std::unique_ptr<Optimizer> make_adam(std::vector<ParameterGroup> groups, const AdamOptions& options = {});
std::unique_ptr<Optimizer> make_adamw(std::vector<ParameterGroup> groups, const AdamOptions& options = {});

}  // namespace fovea::optim
