// Losses, float32. Each gives a Var of shape [1] (mean, sum) or one value a row or element (none).
#pragma once

#include "fovea/autograd/var.hpp"

namespace fovea::autograd {

// What becomes of the values of rows or elements.
enum class Reduction {
  kMean,  // over what counts (not ignored); 0 where nothing counts
  kSum,   // over what counts
  kNone,  // each by itself; 0 for what is ignored
};

// The defaults are PyTorch's. ArgumentError from the losses for values outside the ranges below.
struct CrossEntropyOptions {
  float label_smoothing = 0.0f;  // in [0, 1): 0 trains towards the class alone
  Tensor class_weights{};        // [V] float32 or undefined (all 1); the mean is then weighted, as in PyTorch
  int64_t ignore_index = -100;   // rows with this target count for nothing
  Reduction reduction = Reduction::kMean;  // so that the loss does not grow with the batch
};

// loss[t] = (1−s)·w[y]·(−log p[y]) + s/V·Σ_c w[c]·(−log p[c]), p = softmax(logits[t]), y = targets[t].
// logits [T, V], targets [T] int32 or int64. kMean divides by Σ_t w[targets[t]] over the counted rows.
// d logits = p − onehot (s = 0, w = 1), written over the logits where nobody else holds them.
// ArgumentError for a target outside [0, V) that is not ignore_index.
Var cross_entropy(Var logits, const Tensor& targets, const CrossEntropyOptions& options = {});

// cross_entropy(linear(hidden, weight, bias), targets) without ever holding [T, V]: a chunk of rows at a
// time, loss and gradients while the chunk is in cache. hidden [T, C], weight [V, C], bias [V] or undefined.
// kMean or kSum. Costs the gradients of hidden and weight in memory, made in the forward call when recording.
Var linear_cross_entropy(const Var& hidden, const Var& weight, const Var& bias, const Tensor& targets,
                         const CrossEntropyOptions& options = {});

// How yes-or-no losses are weighed and summed.
struct BinaryOptions {
  Tensor positive_weights{};  // [C] float32 or undefined (1): the factor of the positive term of each column
  Reduction reduction = Reduction::kMean;  // over the targets that are there
};

// Binary or multi-label: loss = −w·t·log σ(x) − (1 − t)·log(1 − σ(x)). logits and targets [T, C] or [T],
// targets in [0, 1]; a NaN target is a missing one: loss 0, no gradient, not counted.
Var binary_cross_entropy(const Var& logits, const Tensor& targets, const BinaryOptions& options = {});

// loss = (x − t)². Same shapes; a NaN target is a missing one.
Var mean_squared_error(const Var& x, const Tensor& targets, Reduction reduction = Reduction::kMean);

// loss = d²/2 for |d| <= delta, else delta·(|d| − delta/2), d = x − t (Huber 1964). NaN targets as above.
Var huber(const Var& x, const Tensor& targets, float delta = 1.0f, Reduction reduction = Reduction::kMean);

}  // namespace fovea::autograd
