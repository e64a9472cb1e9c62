// Cosine scores are dot products of normalised rows: normalise before, and pull the gradient back after.
#pragma once

#include "fovea/attention/attention.hpp"

namespace fovea {

struct Normalised {
  AttentionInputs inputs;  // q and k normalised when the score is cosine, else as given
  Tensor q, k;             // own the normalised rows
};
Normalised normalise_for(const AttentionInputs& inputs, const AttentionSpec& spec);

// In place: turns the gradient of x / |x| into the gradient of x, (g − u (u·g)) / |x|. x [T, H, D].
void normalise_backward(const HeadsView<const float>& x, const HeadsView<float>& gradient);

}  // namespace fovea
