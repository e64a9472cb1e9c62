// A random attention problem, run by the engine and by the reference, and the tolerances between them.
//
// Tolerances (ε = 2^-23). Rounding errors of a sum of n terms grow like a random walk along its partial sums:
// one standard deviation is about ε·Σ|terms|; three to four are granted. So, with A = scale·max Σ|q_c k_c|:
//   a score: s = 6ε·A + ε·(softcap + |bias|); for −|q − k|² the terms of A are (q_c − k_c)², each off by
//   three roundings, of the difference twice and of its square: 1.5ε; for Lorentzian distances, (t(q) −
//   t(k))² too, t(x) = √(1 + |x|²) a weight: the factor w = 2s (score and lse) + 4ε (exp2) + ε·|lse| + 3ε·√Lk
//   (sums over keys) out: w·max|v|·keep;   dv: w·max|dout|·keep·(mass of the key) dS = P(dP − δ), δ less the
//   gradient of lse: P times e = w·(max|dP| + max|δ|) + 8ε·(max Σ|dout_c|)·max|v|·keep dbias: e, times the
//   number of elements that are summed; dscales: e·max Σ|q_c k_c|, likewise dq: scale·max|k|·e, summed over
//   keys (ΣP = 1);   dk: scale·max|q|·e·(mass of the key)
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "fovea/attention/attention.hpp"
#include "fovea/base/random.hpp"
#include "tests/reference/attention.hpp"

namespace fovea::testing {

struct Problem {
  std::vector<int64_t> q_lengths, k_lengths;
  int64_t heads = 1, kv_heads = 1, d = 8, dv = 8;
  AttentionSpec spec;
  bool alibi = false, relative = false, sinks = false, bidirectional = true;
  bool interleaved =
      false;  // q, k, v as columns of one matrix, as layers hold them (needs q_lengths == k_lengths)
  bool batched = false;                    // q, k, v and dout as [B, H, L, D] (needs equal lengths)
  bool scales = false, distances = false;  // distances: `relative` has a row a distance
  // Which of sequence, head, query and key a bias or mask tells apart (the rest is broadcast); empty: none.
  std::vector<bool> bias, mask;
  bool keys_outer = false;   // bias and mask lie transposed, queries innermost
  bool hiding_bias = false;  // a tenth of the bias is −∞
  enum class Blocks { kNone, kOne, kPerSequence, kPerHead };  // kOne needs equal lengths
  Blocks blocks = Blocks::kNone;
  bool lse_gradient = false;  // lse has a gradient beside out
  double magnitude = 1.0;
  uint64_t seed = 1;
  std::string describe() const;
};

struct Arrays {
  Problem problem;
  Offsets q_offsets, k_offsets;
  Tensor memory, q, k, v, dout, slopes, table, sinks;
  AttentionInputs inputs;
  HeadsView<const float> dout_view;
  Tensor scales, bias;
  std::vector<uint8_t> mask;
  std::vector<BlockMask> blocks;
  Tensor dlse;
  // Of AttentionSpec::top_k: the keys that the engine keeps, for the reference; empty: all.
  std::function<bool(int64_t n, int64_t h, int64_t i, int64_t j)> keeps;
};

struct Results {
  Tensor out, lse, dq, dk, dv, dslopes, dtable, dsinks, dscales, dbias;
  Tensor softmax_rows;  // [Tq, H, 2]
  SoftmaxRow* saved() { return reinterpret_cast<SoftmaxRow*>(softmax_rows.data()); }
  const SoftmaxRow* saved() const { return reinterpret_cast<const SoftmaxRow*>(softmax_rows.data()); }
};

// A view [N, H, Lq, Lk] of data, which tells the given axes apart.
ScoresView<float> scores_view(float* data, const std::vector<bool>& axes, bool keys_outer,
                              const Arrays& arrays);
RelativeBias relative_of(const Arrays& arrays);

// Sizes and options drawn from `number`, in any combination.
Problem random_problem(int number);

// The rows of sequence n in float64, contiguous.
std::vector<double> rows_of(const HeadsView<const float>& x, const Offsets& offsets, int64_t n);

Arrays make_arrays(const Problem& problem);
Results run_engine(const Arrays& arrays, bool backward = true);
// Compares with the float64 reference; gtest failures name the index and both values.
void expect_equal_to_reference(const Arrays& arrays, const Results& results, bool backward = true);
// Bit for bit.
void expect_same_bits(const Tensor& a, const Tensor& b, const std::string& what);
// Whether the weight of a query row of the packed batch on key j is kept.
bool kept_by(const AttentionSpec& spec, int64_t row, int64_t heads, int64_t h, int64_t j);
reference::Attention make_reference(const Arrays& arrays, int64_t n);

// The reference's gradients of what sequences share, added up after backward() of each.
struct ParameterSums {
  explicit ParameterSums(const Arrays& arrays);
  void add(const Arrays& arrays, int64_t n, const reference::Attention& r);
  std::vector<double> dslopes, dtable, dsinks, dscales, dbias;
};
// Rows of weights of a sequence whose gradients one element of the bias sums; over keys ΣP = 1.
double summed_rows(const Problem& problem, int64_t queries);

}  // namespace fovea::testing
