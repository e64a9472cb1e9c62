// Differentiable attention over packed tokens, on the fused kernels (attention/attention.hpp): nothing of
// size Lq × Lk is kept. float32; under bf16 precision (precision.hpp) q, k, v and out are rounded to bf16,
// which the bf16 kernels multiply where the call and the processor allow it (attention_plan), and kept so.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "fovea/attention/attention.hpp"
#include "fovea/attention/rotary.hpp"
#include "fovea/autograd/var.hpp"

namespace fovea::autograd {

// What a call of attention read: enough for exact rows afterwards (fovea::attention_rows(call.inputs,
// call.spec, …)). Keeps the tensors alive.
struct AttentionCall {
  AttentionInputs inputs;         // q and k after rotary positions
  AttentionSpec spec{};           // the options that it ran with
  Tensor softmax_rows;            // [Tq, H, 2]: a SoftmaxRow each; undefined where no gradient was wanted
  std::array<Tensor, 9> tensors;  // what `inputs` points into …
  std::shared_ptr<const std::vector<BlockMask>> blocks;  // … and its block masks
};

// How the functions below attend. ArgumentError from them unless key_heads divides heads, and as from
// fovea::attention.
struct AttentionOptions {
  AttentionSpec spec{};   // score, masks by position, dropout, …; plain softmax attention by default
  int64_t heads = 1;      // H
  int64_t key_heads = 0;  // Hkv, divides heads; 0: as many as heads
  std::optional<RotarySpec> rotary{};  // turns q and k by their position first (not v)
  // Trainable extras, undefined where not wanted.
  Var relative_table{};                                 // [buckets, H], T5's relative bias
  int64_t relative_max_distance = 128;                  // these three as in RelativeBias, …
  bool relative_bidirectional = true;                   // … read only with a table;
  RelativeKind relative_kind = RelativeKind::kBuckets;  // T5's by default
  Var alibi_slopes{};                                   // [H]
  Var sinks{};                                          // [H]
  Var scales{};                                         // [H], in place of spec.scale
  // [N, H, Lq, Lk] or 1 where it is broadcast, Lq and Lk those of the longest sequences; added to the scores.
  Var bias{};
  // What may be seen, not trainable: bools of such a shape, true = may attend …
  Tensor mask{};
  // … and block masks, as many as AttentionInputs takes.
  std::vector<BlockMask> blocks{};
  // What to see; nothing by default.
  Observers observers{};
  Insight* seen = nullptr;        // where it goes; null only where nothing is asked for
  AttentionCall* call = nullptr;  // a recorded call is computed in float32
  // Of the result: bf16 only under bf16 precision, where products read it.
  DType result = DType::kF32;
};

// out = softmax(scale·q·kᵀ + …)·v per sequence and head. q [Tq, H·D], k [Tk, Hkv·D], v [Tk, Hkv·Dv] -> [Tq,
// H·Dv]; D = columns of q / H. Gradients for q, k, v and the trainable extras. q and k are turned in place
// where nobody else holds them, else in a copy.
Var attention(Var q, Var k, const Var& v, const Offsets& q_offsets, const Offsets& k_offsets,
              const AttentionOptions& options);

// Self-attention from one projection: qkv [T, (H + 2·Hkv)·D] = q | k | v -> [T, H·D]. Its gradient is written
// straight into the columns of one tensor.
Var attention_qkv(Var qkv, const Offsets& offsets, const AttentionOptions& options);

// Cross-attention with one projection for both sides of the keys: q [Tq, H·D], kv [Tk, 2·Hkv·D] = k | v.
Var attention_kv(Var q, Var kv, const Offsets& q_offsets, const Offsets& k_offsets,
                 const AttentionOptions& options);

// Rotary positions alone: x [T, heads·D], turned in place where nobody else holds it. dx = Rᵀ·dy.
Var rotary(Var x, int64_t heads, const Offsets& offsets, const RotarySpec& spec = {});

}  // namespace fovea::autograd
