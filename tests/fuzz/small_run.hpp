// A run small enough to load a checkpoint a thousand times a second: one parameter, AdamW, a moving average.
#pragma once

#include <memory>

#include "fovea/train/checkpoint.hpp"

namespace fovea::fuzz {

struct SmallRun {
  nn::Parameters parameters{{"w", autograd::Var::parameter(Tensor::zeros({2, 2}))}};
  std::unique_ptr<optim::Optimizer> optimizer = optim::make_adamw(optim::decay_groups(parameters, 0.1));
  optim::MovingAverage average{parameters, 0.99};

  train::TrainState state() { return {parameters, optimizer.get(), &average}; }
};

}  // namespace fovea::fuzz
