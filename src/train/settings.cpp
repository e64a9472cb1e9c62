#include "fovea/train/settings.hpp"

#include "tasks/keys.hpp"

namespace fovea::train {

Settings read_settings(const formats::Recipe& recipe) {
  constexpr int64_t kMany = int64_t{1} << 40;
  const tasks::Keys key(recipe);
  Settings s;
  s.seed = static_cast<uint64_t>(recipe.integer("seed", 1, 0, kMany));
  s.steps = recipe.integer(key("train.steps"), s.steps, 0, kMany);
  s.epochs = recipe.integer(key("train.epochs"), s.epochs, 1, 1000000);
  s.accumulate = recipe.integer(key("train.accumulate"), s.accumulate, 1, 1000000);
  const auto optimizer = recipe.choice(key("train.optimizer"), "adamw", {"adamw", "adam", "sgd"});
  s.optimizer = optimizer == "adamw"  ? OptimizerKind::kAdamW
                : optimizer == "adam" ? OptimizerKind::kAdam
                                      : OptimizerKind::kSgd;
  s.learning_rate = recipe.number(key("train.learning_rate"), s.learning_rate, 0.0, 1e6);
  s.weight_decay = recipe.number(key("train.weight_decay"), s.weight_decay, 0.0, 1e6);
  s.beta1 = recipe.number(key("train.beta1"), s.beta1, 0.0, 0.999999);
  s.beta2 = recipe.number(key("train.beta2"), s.beta2, 0.0, 0.9999999);
  s.epsilon = recipe.number(key("train.epsilon"), s.epsilon, 1e-30, 1.0);
  s.momentum = recipe.number(key("train.momentum"), s.momentum, 0.0, 0.999999);
  s.clip = recipe.number(key("train.clip"), s.clip, 0.0, 1e30);
  const auto schedule = recipe.choice(key("train.schedule"), "cosine",
                                      {"constant", "linear", "cosine", "inverse_sqrt", "one_cycle"});
  s.schedule = schedule == "constant"       ? optim::ScheduleKind::kConstant
               : schedule == "linear"       ? optim::ScheduleKind::kLinear
               : schedule == "cosine"       ? optim::ScheduleKind::kCosine
               : schedule == "inverse_sqrt" ? optim::ScheduleKind::kInverseSquareRoot
                                            : optim::ScheduleKind::kOneCycle;
  s.warm_up = recipe.number(key("train.warm_up"), s.warm_up, 0.0, 1e12);
  s.final_fraction = recipe.number(key("train.final_fraction"), s.final_fraction, 0.0, 1.0);
  s.average = recipe.number(key("train.average"), s.average, 0.0, 0.9999999);
  s.validate_every = recipe.integer(key("train.validate_every"), s.validate_every, 0, kMany);
  s.patience = recipe.integer(key("train.patience"), s.patience, 0, 1000000);
  s.keep_best = recipe.boolean(key("train.keep_best"), s.keep_best);
  s.checkpoint_every = recipe.integer(key("train.checkpoint_every"), s.checkpoint_every, 0, kMany);
  s.precision = recipe.choice(key("train.precision"), "float32", {"float32", "bf16"}) == "bf16"
                    ? autograd::Precision::kBFloat16
                    : autograd::Precision::kFloat32;
  s.log_every = recipe.integer(key("train.log_every"), s.log_every, 1, kMany);
  return s;
}

}  // namespace fovea::train
