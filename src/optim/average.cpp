#include "fovea/optim/average.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "fovea/kernels/elementwise.hpp"
#include "optim/state.hpp"

namespace fovea::optim {

MovingAverage::MovingAverage(nn::Parameters parameters, double decay)
    : parameters_(std::move(parameters)), decay_(decay) {
  check_argument(decay >= 0 && decay < 1, "moving_average", "expected 0 <= decay < 1, got {}", decay);
  averages_.reserve(parameters_.size());
  for (const nn::Parameter& p : parameters_) averages_.push_back(p.var.value().clone());
}

void MovingAverage::update() {
  const auto t = static_cast<double>(++updates_);
  const double decay = std::min(decay_, (1.0 + t) / (10.0 + t));
  for (size_t i = 0; i < parameters_.size(); ++i) {
    kernels::interpolate(averages_[i].numel(), static_cast<float>(1.0 - decay),
                         parameters_[i].var.value().data(), averages_[i].data());
  }
}

void MovingAverage::swap() {
  // Elements change places, not handles: the model, the optimiser and tied layers all share the parameter's
  // tensor.
  for (size_t i = 0; i < parameters_.size(); ++i) {
    float* value = parameters_[i].var.value().data();
    std::swap_ranges(value, value + averages_[i].numel(), averages_[i].data());
  }
}

OptimizerState MovingAverage::state() const {
  OptimizerState state{updates_, {}};
  for (size_t i = 0; i < parameters_.size(); ++i) {
    state.tensors.push_back({parameters_[i].name + ".average", averages_[i]});
  }
  return state;
}

void MovingAverage::load_state(const OptimizerState& state) {
  load_tensors("moving_average.load_state", this->state().tensors, state.tensors);
  updates_ = state.steps;
}

}  // namespace fovea::optim
