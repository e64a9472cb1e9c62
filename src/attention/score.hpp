// The rows that a call's kernels read in place of q and k, and their gradients' way back (score_rule.hpp).
#pragma once

#include "fovea/attention/inputs.hpp"
#include "fovea/attention/spec.hpp"
#include "fovea/tensor/ragged.hpp"
#include "fovea/tensor/view.hpp"

namespace fovea {

// How many columns the rows of a score have more than q and k.
int64_t extra_width(Score score);
// The scale when the caller gives none, for q and k of this width.
double usual_scale(Score score, int64_t width);
// Whether the score is a sum over differences of the rows instead of their dot product (score_rule.hpp).
bool is_distance(Score score);
// Whether the kernels read q and k themselves.
bool reads_as_given(Score score);

// What a score reads of a call, float or double.
template <class T>
struct ScoreOperands {
  Score score;
  HeadsView<const T> q, k;
  const Offsets& q_offsets;
  const Offsets& k_offsets;
};

template <class T>
struct ScoreRows {
  HeadsView<const T> q, k;
  Tensor made_q, made_k;  // their memory, where they were made
};
// Without data in k, of q alone.
template <class T>
ScoreRows<T> make_rows(const ScoreOperands<T>& in);

// What the row made of a key k consists of, from |k|²: [factor·k, extra …], extra [extra_width][keys].
void key_terms(Score score, int64_t keys, const float* squared, float* factor, float* extra);

inline ScoreOperands<float> operands_of(const AttentionInputs& in, Score score) {
  return {score, in.q, in.k, in.q_offsets, in.k_offsets};
}
// A call with the rows in place of q and k.
struct WithRows {
  ScoreRows<float> rows;
  AttentionInputs inputs;
  WithRows(const AttentionInputs& given, Score score);
};

// Where the kernels write the gradients of the rows (dq, dk: the caller's where the rows are, too), and from
// where they are pulled back into the caller's. A view without data is not wanted.
template <class T>
class RowGradients {
 public:
  RowGradients(const ScoreOperands<T>& in, const HeadsView<T>& dq, const HeadsView<T>& dk);
  HeadsView<T> dq, dk;
  void pull_back() const;

 private:
  ScoreOperands<T> in_;
  HeadsView<T> wanted_q_, wanted_k_;
  Tensor made_q_, made_k_;
};

}  // namespace fovea
