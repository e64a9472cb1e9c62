// AttentionSpec::top_k: the k strongest keys of every query. A pass of the fused kernel chooses them; then
// each row is computed from its own keys, in the order of their strength. Memory: a chunk of rows a thread,
// and in backward (or for masses of keys) the lists of all rows.
#pragma once

#include "attention/resolve.hpp"
#include "fovea/base/function_ref.hpp"

namespace fovea {

struct KeptKey {
  int32_t key;
  float raw;     // q·k of the transformed rows
  float slope;   // the derivative of the logit by scale·q·k: that of softcap
  float logit;   // what enters the softmax
  float weight;  // before dropout
};

// One row: the keys that query i of sequence n and head h keeps, strongest first.
struct KeptRow {
  int64_t n = 0, h = 0, i = 0;
  int64_t count = 0;
  bool spoilt = false;      // the query sees a score that is NaN: its results are NaN, whatever it keeps
  float max = 0;            // of the logits and the sink, natural; −inf without both
  float log_sum = 0;        // natural: ln Σ exp(logit − max), the sink counted
  KeptKey* kept = nullptr;  // [count]
  float* room = nullptr;    // [count], for whoever uses the row
};

// Calls use(row) for every row of the call, of `wanted` chunks only where it is given; in parallel. Inputs
// are the transformed ones (score.hpp).
struct RowChunk {
  int64_t n, begin, end;  // queries of sequence n
};
void for_kept_rows(const AttentionInputs& inputs, const Resolved& r,
                   FunctionRef<bool(const RowChunk&)> wanted, FunctionRef<void(const KeptRow&)> use);

// 0, or what the weight of key j is multiplied by: the same choice as the kernels make.
float dropout_factor(const AttentionInputs& inputs, const Resolved& r, int64_t n, int64_t h, int64_t i,
                     int64_t j);

// The lists of all rows, for sums over a key's queries: place s of row (t, h) at (t·H + h)·k + s.
struct KeptLists {
  Buffer<int32_t> keys;  // −1 behind the last
  int64_t k = 0, heads = 0;
  KeptLists() = default;
  KeptLists(const AttentionInputs& inputs, const Resolved& r);
  size_t at(int64_t t, int64_t h) const { return static_cast<size_t>((t * heads + h) * k); }
  void set(const AttentionInputs& inputs, const KeptRow& row);
};

// What fused_forward and fused_backward do, for calls with top_k.
void kept_forward(const AttentionInputs& inputs, const Resolved& r, HeadsView<float> out,
                  const SoftmaxOutput& softmax, const Observers& observers, Insight* seen);
void kept_backward(const AttentionInputs& inputs, const Resolved& r, HeadsView<const float> dout,
                   const float* dlse, const AttentionGradients& gradients);

// Short vectors, in float32: eight sums side by side.
float kept_dot(const float* a, const float* b, int64_t n);
// y += a·x
void kept_add(float* y, float a, const float* x, int64_t n);
// What a pair of rows gives the gradient of `from`: y += a·x, or a·(x − from) where scores are differences.
void kept_add_row(const Resolved& r, float* y, float a, const float* x, const float* from);

}  // namespace fovea
