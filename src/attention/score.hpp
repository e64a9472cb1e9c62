// Every score is a dot product of transformed rows: transform before, pull the gradient back after.
//   cosine                q/|q| and k/|k|
//   negative squared L2   [2q, −|q|², −1] and [k, 1, |k|²], two wider
#pragma once

#include "fovea/attention/attention.hpp"

namespace fovea {

struct Transformed {
  AttentionInputs inputs;  // q and k as the score needs them
  Tensor q, k;             // own the transformed rows
};
Transformed transform_for(const AttentionInputs& inputs, Score score);

// Where the kernels write the gradients of the transformed q and k, and from where they are pulled back into
// the caller's.
class ScoreGradients {
 public:
  ScoreGradients(const AttentionInputs& inputs, Score score, const AttentionGradients& wanted);
  const AttentionGradients& of_transformed() const { return inner_; }
  void pull_back() const;

 private:
  const AttentionInputs& inputs_;
  Score score_;
  const AttentionGradients& wanted_;
  AttentionGradients inner_;
  Tensor dq_, dk_;
};

}  // namespace fovea
