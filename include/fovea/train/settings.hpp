// The [train] table of a recipe: every key, its default and the reason for it (docs/formats/recipe.md).
#pragma once

#include <cstdint>

#include "fovea/autograd/precision.hpp"
#include "fovea/formats/recipe.hpp"
#include "fovea/optim/schedule.hpp"

namespace fovea::train {

// Which of optim/optimizer.hpp updates the weights.
enum class OptimizerKind { kAdamW, kAdam, kSgd };

// Times are in steps, which are updates. The defaults suit networks of up to some millions of numbers on two
// cores.
struct Settings {
  uint64_t seed = 1;       // top-level `seed`: data order, initialisation, dropout
  int64_t steps = 0;       // updates; 0: as many as `epochs` give
  int64_t epochs = 10;     // passes over the training rows, when `steps` is not set
  int64_t accumulate = 1;  // batches an update: larger effective batches without more memory
  OptimizerKind optimizer = OptimizerKind::kAdamW;  // the one that needs least tuning
  double learning_rate = 1e-3;                      // right for widths of 64 to 512 with AdamW
  double weight_decay = 0.01;                       // AdamW's paper; embeddings, norms and biases never decay
  double beta1 = 0.9, beta2 = 0.98;  // second moment over 50 steps: short runs must not wait for 1,000
  double epsilon = 1e-8;             // Adam's paper
  double momentum = 0.9;             // SGD
  double clip = 1.0;  // largest norm of the gradient; 0: none. One bad batch cannot undo an epoch
  optim::ScheduleKind schedule = optim::ScheduleKind::kCosine;  // ends at final_fraction, whatever the length
  double warm_up = 0.05;        // of the steps when below 1, else steps: Adam's moments are noise at first
  double final_fraction = 0.0;  // of the learning rate, reached at the last step
  double average = 0.0;  // decay of the moving average of the weights that is validated and saved; 0: none
  int64_t validate_every = 0;    // steps; 0: at the end of each epoch
  int64_t patience = 0;          // validations without a better score before stopping; 0: never
  bool keep_best = true;         // save the best validated weights rather than the last ones
  int64_t checkpoint_every = 0;  // steps; 0: at each validation
  // "float32", or "bf16": the layers' products of training read operands rounded to bf16. Weights stay
  // float32.
  autograd::Precision precision = autograd::Precision::kFloat32;
  int64_t log_every = 10;  // steps between lines of metrics.jsonl
};

// DataError for a value out of range, with the recipe's file and line.
Settings read_settings(const formats::Recipe& recipe);

}  // namespace fovea::train
