// Attention in float64 throughout, by the plain definition, row by row: O(T) memory and every option, at
// reference speed (no vectors, one pass a row). For gradient checks, for measuring the error of the other
// types, and for callers whose arrays are float64. Same options, layouts and guarantees as attention.hpp.
// Thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "fovea/attention/attention.hpp"

namespace fovea {

// The arrays of a float64 call: borrowed, packed as in AttentionInputs.
struct DoubleAttentionInputs {
  HeadsView<const double> q{};  // [Tq, H, D]
  HeadsView<const double> k{};  // [Tk, Hkv, D]
  HeadsView<const double> v{};  // [Tk, Hkv, Dv]
  // In place of the float32 ones of `rest` and of AttentionSpec, which are not looked at.
  std::span<const double> alibi_slopes{};  // [H] or empty
  std::span<const double> sinks{};         // [H] or empty
  // [buckets, H], in place of the table of rest.relative, which says what its rows are; empty: that table
  std::span<const double> relative_table{};
  std::span<const double> scales{};  // [H] or empty
  ScoresView<const double> bias{};   // [N, H, Lq, Lk]
  std::optional<double> scale{};     // unset: 1/√D for kScaledDot, else 1
  double softcap = 0.0;              // 0: none
  AttentionInputs rest{};            // offsets, masks and the relative bias
};

// A view or pointer without data is not written.
struct DoubleAttentionGradients {
  HeadsView<double> dq{}, dk{}, dv{};  // overwritten
  double* dslopes = nullptr;           // [H]; added to, as are all that follow
  double* dsinks = nullptr;            // [H]
  double* dscales = nullptr;           // [H]
  double* dtable = nullptr;            // [buckets, H]
  ScoresView<double> dbias{};          // dims as those of the bias; sums over the axes whose stride is 0
};

// As attention_forward of attention.hpp; `seen` holds float64 (indices int64).
void attention_forward(const DoubleAttentionInputs& inputs, const AttentionSpec& spec, HeadsView<double> out,
                       double* lse, const Observers& observers = {}, Insight* seen = nullptr);

// As attention_backward of attention.hpp.
void attention_backward(const DoubleAttentionInputs& inputs, const AttentionSpec& spec,
                        HeadsView<const double> out, const double* lse, HeadsView<const double> dout,
                        const DoubleAttentionGradients& gradients, const double* dlse = nullptr);

// As attention_rows of attention.hpp; the weights are float64.
Ragged attention_rows(const DoubleAttentionInputs& inputs, const AttentionSpec& spec,
                      std::span<const int64_t> queries);

}  // namespace fovea
