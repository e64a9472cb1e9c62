// Optimiser steps over all parameters of a model in one threaded pass.
#pragma once

#include <cstdint>
#include <span>

namespace fovea::kernels {

// One parameter and its state, n elements each.
struct OptimizerTensor {
  int64_t n = 0;                // elements
  float* param = nullptr;       // overwritten by a step
  const float* grad = nullptr;  // d loss / d param, before grad_scale
  float* m = nullptr;           // first moment, or SGD's velocity (null without momentum)
  float* v = nullptr;           // second moment (Adam)
  float* average = nullptr;     // exponential moving average of the parameter, null for none
  float weight_decay = 0.0f;    // a step; as Adam's and SGD's formulas below read it
  float lr_scale = 1.0f;        // times the step's learning rate
};

// Adam (Kingma and Ba 2015); decoupled decay is AdamW (Loshchilov and Hutter 2019), else decay is added to
// the gradient. g = grad_scale·grad; m = β1·m + (1-β1)·g; v = β2·v + (1-β2)·g²; p = p·(1 - lr·decay) -
// lr·(m/(1-β1^step))/(√(v/(1-β2^step)) + eps).
struct AdamStep {
  // Kingma and Ba's own values.
  float learning_rate = 1e-3f;
  float beta1 = 0.9f;
  float beta2 = 0.999f;
  float eps = 1e-8f;

  int64_t step = 1;            // counts from 1
  bool decoupled = true;       // AdamW
  float grad_scale = 1.0f;     // clipping and gradient accumulation
  float average_decay = 0.0f;  // average = d·average + (1-d)·param, where there is one
};
// One step of every tensor, which all have m and v; writes param, m, v and average.
void adam_step(const AdamStep& step, std::span<const OptimizerTensor> tensors);

// m = momentum·m + g + decay·p; p -= lr·(nesterov ? g + decay·p + momentum·m : m). At step 1 PyTorch's m = g:
// start from m = 0 and dampening 0, the same.
struct SgdStep {
  float learning_rate = 1e-2f;  // lr, times the tensor's lr_scale
  float momentum = 0.0f;        // of tensors that have an m; 0.9 is customary
  bool nesterov = false;        // Sutskever et al. 2013, in PyTorch's form
  float grad_scale = 1.0f;      // as AdamStep's, …
  float average_decay = 0.0f;   // … and so is this
};
// One step of every tensor; those without an m take p -= lr·(g + decay·p). g is grad_scale·grad.
void sgd_step(const SgdStep& step, std::span<const OptimizerTensor> tensors);

// Σ over all tensors of Σ grad², in fixed chunks; the square of the global gradient norm. +inf or NaN when a
// gradient is not finite.
double grad_squared_norm(std::span<const OptimizerTensor> tensors);

}  // namespace fovea::kernels
