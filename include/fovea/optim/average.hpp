// Weight averaging: an exponential moving average of the parameters, which usually generalises better than
// the last step's weights (Polyak and Juditsky 1992).
#pragma once

#include <cstdint>
#include <vector>

#include "fovea/nn/parameter.hpp"
#include "fovea/optim/optimizer.hpp"

namespace fovea::optim {

// avg ← d·avg + (1 − d)·θ after each update, with d = min(decay, (1 + t) / (10 + t)) at the t-th, so that the
// first weights are soon forgotten. Owns the averages, shares the parameters. Not thread-safe.
class MovingAverage {
 public:
  // Begins with the parameters' present values. ArgumentError unless 0 <= decay < 1.
  MovingAverage(nn::Parameters parameters, double decay);

  // To be called after each of the optimiser's steps.
  void update();
  int64_t updates() const { return updates_; }  // t: how often that was done
  // Exchanges parameters and averages: once before evaluating or saving, once after. Twice gives the same
  // bits.
  void swap();

  // For a checkpoint: "<parameter>.average" and the count in `steps`. ArgumentError as Optimizer::load_state.
  OptimizerState state() const;
  void load_state(const OptimizerState& state);

 private:
  nn::Parameters parameters_;
  std::vector<Tensor> averages_;
  double decay_;
  int64_t updates_ = 0;
};

// Evaluates with the averaged weights while alive.
class AveragedScope {
 public:
  // Null does nothing, so that a caller need not ask whether it averages. `average` must outlive the scope.
  explicit AveragedScope(MovingAverage* average) : average_(average) {
    if (average_ != nullptr) average_->swap();
  }
  AveragedScope(const AveragedScope&) = delete;
  AveragedScope& operator=(const AveragedScope&) = delete;
  ~AveragedScope() {
    if (average_ != nullptr) average_->swap();
  }

 private:
  MovingAverage* average_;
};

}  // namespace fovea::optim
