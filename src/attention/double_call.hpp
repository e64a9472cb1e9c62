// A float64 call, checked, and its rows: what forward, backward and exact rows share.
#pragma once

#include <cmath>

#include "attention/resolve.hpp"
#include "attention/score.hpp"
#include "attention/sequence.hpp"
#include "fovea/attention/double.hpp"

namespace fovea {

class DoubleCall {
 public:
  DoubleCall(const char* call, const DoubleAttentionInputs& inputs, const AttentionSpec& spec);

  const DoubleAttentionInputs& in;
  Resolved r;  // shapes, masks, window and dropout; its float32 options are not used
  ScoreOperands<double> operands;
  ScoreRows<double> rows;  // what is multiplied in place of q and k
  double softcap;
  double scale_of(int64_t h) const { return in.scales.empty() ? scale_ : in.scales[static_cast<size_t>(h)]; }
  // The sink's logit, −∞ without one.
  double sink_of(int64_t h) const;

  // The keys that query i of sequence n and head h may see lie in [lo, hi) = keys(…); for each of them
  // raw[j] is the score and logit[j] what enters the softmax, −∞ where it is masked.
  struct Range {
    int64_t lo, hi;
  };
  Range keys(int64_t n, int64_t i) const;
  void row(int64_t n, int64_t h, int64_t i, double* raw, double* logit) const;
  // Whether a head's own scores count, of its own keys or permuted ones: no pattern stands in their place.
  bool is_scored(int64_t h) const;
  bool has_table() const { return shapes_.relative.table != nullptr; }
  // What the softmax of a row leaves: a weight is exp((logit − max) − log_sum). Apart, since their sum, the
  // lse, would lose log_sum beside a maximum of 1e16 and more (a mask of the lowest number, say).
  struct Softmax {
    double max, log_sum;  // the sink counted; max −∞: neither keys nor sink
    double lse() const { return max + log_sum; }
    double weight(double logit) const { return std::exp((logit - max) - log_sum); }
  };
  Softmax softmax(int64_t h, Range keys, const double* logit) const;
  // The same for a row whose lse is given: the row's own, or that of a whole of which these keys are a part.
  Softmax softmax(int64_t h, Range keys, const double* logit, double lse) const;
  // 0, or what a kept weight is multiplied by.
  double keep(int64_t n, int64_t h, int64_t i, int64_t j) const;

  // The longest sequence of keys.
  int64_t longest() const { return in.rest.k_offsets.max_length(); }

 private:
  double bias(int64_t n, int64_t h, int64_t i, int64_t j) const;
  void keep_strongest(Range range, double* logit) const;
  bool allowed(int64_t n, int64_t h, int64_t i, int64_t j) const;
  int64_t permuted(int64_t n, int64_t j) const {
    return in.rest.override_heads.permutation[static_cast<size_t>(in.rest.k_offsets.begin(n) + j)];
  }

  Buffer<float> table_;  // relative_table, for the checks of the float32 call
  AttentionInputs shapes_;
  double scale_ = 1.0;
  bool zero_sink_ = false;
};

}  // namespace fovea
