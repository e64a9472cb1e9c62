#include "fovea/optim/optimizer.hpp"

#include <cmath>
#include <unordered_set>

#include "base/check.hpp"
#include "optim/state.hpp"

namespace fovea::optim {

std::vector<ParameterGroup> decay_groups(const nn::Parameters& parameters, double weight_decay) {
  std::vector<ParameterGroup> groups(2);
  groups[0].weight_decay = weight_decay;
  for (const nn::Parameter& p : parameters)
    groups[p.decay == nn::Decay::kYes ? 0 : 1].parameters.push_back(p);
  return groups;
}

Optimizer::Optimizer(std::vector<ParameterGroup> groups, std::vector<std::string> moments)
    : moment_names_(std::move(moments)) {
  std::unordered_set<const autograd::Node*> seen;
  for (ParameterGroup& group : groups) {
    check_argument(std::isfinite(group.weight_decay) && group.weight_decay >= 0, "optimizer",
                   "expected a weight decay >= 0, got {}", group.weight_decay);
    check_argument(std::isfinite(group.learning_rate_scale) && group.learning_rate_scale >= 0, "optimizer",
                   "expected a learning-rate scale >= 0, got {}", group.learning_rate_scale);
    for (nn::Parameter& p : group.parameters) {
      check_argument(p.var.requires_grad() && p.var.value().dtype() == DType::kF32, "optimizer",
                     "expected a trainable float32 parameter, got {}", p.name);
      check_argument(seen.insert(p.var.node().get()).second, "optimizer",
                     "expected each parameter once, got {} again", p.name);
      for (size_t i = 0; i < moment_names_.size(); ++i) moments_.push_back(Tensor::zeros(p.var.shape()));
      parameters_.push_back(std::move(p));
      weight_decay_.push_back(static_cast<float>(group.weight_decay));
      learning_rate_scale_.push_back(static_cast<float>(group.learning_rate_scale));
    }
  }
  items_.reserve(parameters_.size());
}

void Optimizer::step(double learning_rate) {
  check_argument(std::isfinite(learning_rate) && learning_rate >= 0, "optimizer",
                 "expected a learning rate >= 0, got {}", learning_rate);
  items_.clear();
  const size_t count = moment_names_.size();
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor grad = parameters_[i].var.grad();
    if (!grad.defined()) continue;
    kernels::OptimizerTensor item;
    item.n = grad.numel();
    item.param = parameters_[i].var.value().data();
    item.grad = grad.data();
    if (count > 0) item.m = moments_[i * count].data();
    if (count > 1) item.v = moments_[i * count + 1].data();
    item.weight_decay = weight_decay_[i];
    item.lr_scale = learning_rate_scale_[i];
    items_.push_back(item);
  }
  apply(items_, static_cast<float>(learning_rate), ++steps_);
}

void Optimizer::zero_grad() {
  for (nn::Parameter& p : parameters_) p.var.clear_grad();
}

std::vector<NamedTensor> Optimizer::named_moments() const {
  std::vector<NamedTensor> named;
  named.reserve(moments_.size());
  for (size_t i = 0; i < moments_.size(); ++i) {
    named.push_back(
        {parameters_[i / moment_names_.size()].name + "." + moment_names_[i % moment_names_.size()],
         moments_[i]});
  }
  return named;
}

OptimizerState Optimizer::state() const {
  return {steps_, named_moments()};
}

void Optimizer::load_state(const OptimizerState& state) {
  load_tensors("optimizer.load_state", named_moments(), state.tensors);
  steps_ = state.steps;
}

}  // namespace fovea::optim
