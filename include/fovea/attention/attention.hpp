// Fused attention over packed sequences, forward and backward, that never stores the Lq × Lk matrix.
// O(T) memory, any number of threads with the same bits, and a sequence has the same bits packed as alone
// (dropout apart, see AttentionSpec). float32. Thread-safe: calls share nothing but the thread pool.
#pragma once

#include <cstdint>
#include <span>

#include "fovea/attention/inputs.hpp"
#include "fovea/attention/observe.hpp"
#include "fovea/attention/softmax.hpp"
#include "fovea/attention/spec.hpp"
#include "fovea/tensor/ragged.hpp"
#include "fovea/tensor/tensor.hpp"
#include "fovea/tensor/view.hpp"

namespace fovea {

// What a call on tensors gives, of its own memory; lse and seen are float32 whatever the inputs are.
struct AttentionResult {
  Tensor out;    // [T, H, Dv]
  Tensor lse;    // [T, H]
  Insight seen;  // what the observers asked for (and lse, and what the softmax leaves of each row)
};

// out[i] = Σ_j softmax_j(scale·q_i·k_j + …)·v_j for each sequence and head. A query without keys gives out 0
// and lse −inf (with a sink: the sink's logit). q [Tq, H, D], k [Tk, Hkv, D], v [Tk, Hkv, Dv], float32.
// Throws ArgumentError for shapes that do not fit, D or Dv outside 0…1024, and options outside their range.
AttentionResult attention(const AttentionInputs& inputs, const AttentionSpec& spec = {},
                          const Observers& observers = {});
// The same for tensors, float32 or all of one 16-bit type (then out is of that type), with offsets (packed) …
AttentionResult attention(const Tensor& q, const Tensor& k, const Tensor& v, const Offsets& q_offsets,
                          const Offsets& k_offsets, const AttentionSpec& spec = {},
                          const Observers& observers = {});
// … or as one sequence.
AttentionResult attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec = {},
                          const Observers& observers = {});

// Writes out [Tq, H, Dv] (any strides, innermost 1) and what the softmax leaves. `seen` receives what the
// observers ask for; null when they ask for nothing.
void attention_forward(const AttentionInputs& inputs, const AttentionSpec& spec, HeadsView<float> out,
                       SoftmaxOutput softmax, const Observers& observers = {}, Insight* seen = nullptr);

// Where the gradients go. A view without data is not written.
struct AttentionGradients {
  HeadsView<float> dq{};    // [Tq, H, D]; overwritten, as dk and dv are; may be columns of one matrix [T, 3C]
  HeadsView<float> dk{};    // [Tk, Hkv, D]
  HeadsView<float> dv{};    // [Tk, Hkv, Dv]
  float* dtable = nullptr;  // [buckets, H]; added to, as are all that follow
  float* dslopes = nullptr;  // [H]
  float* dsinks = nullptr;   // [H]
  float* dscales = nullptr;  // [H]
  // dims as those of the bias; sums over the axes whose stride is 0. Other strides must not alias. Where
  // sequences or heads share elements, up to seven copies of them are held meanwhile.
  ScoresView<float> dbias{};
};

// The gradients of Σ dout∘out + Σ dlse·lse, from out and what the softmax left as attention_forward wrote
// them (with the same inputs and spec); dlse [Tq, H], null: zeros. With P the weights and δ =
// rowsum(dout∘out) − dlse, a score's gradient is P∘(dP − δ). Rows without keys have zero gradients.
void attention_backward(const AttentionInputs& inputs, const AttentionSpec& spec, HeadsView<const float> out,
                        SoftmaxInput softmax, HeadsView<const float> dout,
                        const AttentionGradients& gradients, const float* dlse = nullptr);

// Exact weights (before dropout) of chosen queries, on demand, computed and normalised in float64. queries
// are rows of the packed q. Result: tokens [Σ Lk, H], sequence n of its offsets holding the weights of
// queries[n] on the Lk keys of its sequence. `shares` [Tq, H] multiplies each row's weights: where the keys
// are a part of a whole (merge.hpp), share_of_whole (softmax_row.hpp) gives them; null: ones. With top_k, the
// keys are chosen anew by a pass over the scores of the chunks (256 queries) that hold those queries.
Ragged attention_rows(const AttentionInputs& inputs, const AttentionSpec& spec,
                      std::span<const int64_t> queries, const float* shares = nullptr);

// An estimate of Insight::key_mass and how far it may be off.
struct SampledKeyMass {
  // Lq·(mean of the sampled queries' weights on the key), and the standard error of that; the error is 0
  // where all queries were taken.
  Tensor mass, standard_error;  // [Tk, H]
};
// Estimates the key mass from the exact rows of `samples` queries of each sequence (all, where it has fewer),
// drawn without replacement: the same key draws the same queries. Costs samples / Lq of a pass over the
// scores, in float64. `shares` as in attention_rows. ArgumentError for fewer than 2 samples, and with top_k.
SampledKeyMass sampled_key_mass(const AttentionInputs& inputs, const AttentionSpec& spec, int64_t samples,
                                RandomKey key, const float* shares = nullptr);

// The result of attention over a part of the keys. Parts over disjoint keys combine into the whole, in any
// grouping.
struct SoftmaxState {
  Tensor out;  // [T, H, Dv], normalised within its part
  Tensor lse;  // [T, H]
};
// into := attention over the keys of both, as exactly as an lse says: parts whose lse are beyond ±1e4 keep
// more as AttentionResult (merge.hpp). ArgumentError if the shapes differ.
void merge(SoftmaxState& into, const SoftmaxState& part);

}  // namespace fovea
