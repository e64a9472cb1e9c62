// What an attention call is asked to do. The order of a call:
//   score -> × scale -> softcap -> + bias (by distance: ALiBi, relative; of any shape) -> masks -> top k
//   -> softmax (sink in the denominator) -> dropout -> · V
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "fovea/base/random.hpp"

namespace fovea {

// What makes a number of a query and a key, before the scale.
enum class Score : uint8_t {
  kScaledDot,  // q·k, scale 1/√D by default
  kDot,        // q·k, scale 1 by default
  kCosine,     // q·k / (|q| |k|), scale 1 by default; a vector shorter than 1e-12 scores 0
  // −|q − k|², scale 1 by default. Computed from differences, as are its gradients: with u = 2^-24 it is off
  // by at most (D + 2)·u·|q − k|², wherever q and k lie
  kNegSquaredL2,
  // −d² of the Lorentz model of hyperbolic space, 2 + 2(q·k − √(1 + |q|²)·√(1 + |k|²)), scale 1 by default;
  // for embeddings of trees and hierarchies (Law et al., "Lorentzian distance learning", 2019). Computed as
  // −|q − k|² + (t(q) − t(k))², t(x) = √(1 + |x|²): off by at most (D + 8)·u·|q − k|² + 2^-41·t·|q − k|, t
  // the greater of both. Of rows far out on one ray, d² itself is small beside |q − k|² and has fewer digits.
  kNegSquaredLorentz,
};

// A score and the name that it has in Python's `score=` and in `fovea info --attention`.
struct ScoreName {
  Score score;            // as AttentionSpec holds it
  std::string_view name;  // as people type it
};
// All of them, in the order of Score; command line, Python and tests read the list.
inline constexpr ScoreName kScoreNames[] = {{Score::kScaledDot, "scaled_dot"},
                                            {Score::kDot, "dot"},
                                            {Score::kCosine, "cosine"},
                                            {Score::kNegSquaredL2, "neg_sq_l2"},
                                            {Score::kNegSquaredLorentz, "neg_sq_lorentz"}};

// What makes weights of a row's scores.
enum class Normalizer : uint8_t {
  kSoftmax,
  // e^s / (1 + Σ e^s) (Miller, "Attention is off by one", 2023): a sink of logit 0, so that a head may attend
  // to nothing; without parameters. Excludes sinks.
  kSoftmaxOne,
};

// How float32 inputs are multiplied; 16-bit inputs are multiplied exactly under each. plan.hpp tells what
// runs.
enum class Precision : uint8_t {
  kStrict,  // float32 multiply-adds
  kHigh,    // about 16 digits of each factor (three bf16 products) where that is faster, else as strict
  kFast,    // q, k, v and dout rounded to bf16 (8 digits), sums in float32; where there is no bf16 kernel, as
            // strict
};

// The options of a call that are not arrays (those are in AttentionInputs). The defaults are plain softmax
// attention over all keys. The calls throw ArgumentError for a value outside the range that a field names.
struct AttentionSpec {
  // Scaled dot products, so that scores keep their size as D grows (Vaswani et al., 2017).
  Score score = Score::kScaledDot;
  std::optional<float> scale{};  // unset: 1/√D for kScaledDot, else 1

  // Weights of each row sum to one unless a sink or kSoftmaxOne takes a share.
  Normalizer normalizer = Normalizer::kSoftmax;

  // Position i of a query is aligned to the end: the last query stands at the last key, i' = i + Lk − Lq.
  bool causal = false;        // keys j <= i'
  int64_t window_left = -1;   // keys j >= i' − window_left; −1: unbounded
  int64_t window_right = -1;  // keys j <= i' + window_right; −1: unbounded

  float softcap = 0.0f;  // c·tanh(s / c); 0: none, denormal ones are refused

  // Each query keeps its k strongest keys (Gupta et al., "Memory-efficient transformers via top-k attention",
  // 2021): of the biased scores of the keys that it sees, ties to the lower index. lse and every insight are
  // of the kept, gradients flow through them alone. Any k, also beyond all keys; 0: all keys, faster. A pass
  // of the fused kernel over all scores chooses them, they are computed one by one, in float32 whatever
  // `precision` says; backward chooses anew and holds 16 bytes for each. Not together with overridden heads.
  int64_t top_k = 0;

  // Each weight is dropped with this probability and the rest scaled by 1/(1−p); lse counts all of them. The
  // probability is rounded to a multiple of 2^-16 (16 random bits a weight). The choice is a function of the
  // key, the query's row in the packed batch, the head and the index of the key within its sequence: the same
  // for any number of threads, but (alone among the options) not the same for a sequence moved within a
  // batch.
  float dropout = 0.0f;
  // What the choice is drawn from; give each layer and step one of its own.
  RandomKey dropout_key{};

  // Strict, because float32 inputs are taken to want float32 results.
  Precision precision = Precision::kStrict;
};

}  // namespace fovea
