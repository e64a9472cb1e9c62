// What is done to gradients between backward and the update.
#pragma once

#include <span>
#include <string>

#include "fovea/nn/parameter.hpp"

namespace fovea::optim {

// √ Σ g² over every gradient present, 0 when there is none. Summed in float64 over fixed chunks: the same
// bits for any number of threads. Not finite when a gradient is not.
double gradient_norm(std::span<const nn::Parameter> parameters);

// Scales all gradients by max_norm / norm where norm > max_norm (Pascanu et al. 2013), and gives the norm
// before. A norm that is not finite leaves the gradients as they are: the caller sees it and stops.
// ArgumentError unless max_norm > 0.
double clip_gradient_norm(std::span<const nn::Parameter> parameters, double max_norm);

// Scales every gradient present (e.g. 1 / accumulated micro-batches).
void scale_gradients(std::span<const nn::Parameter> parameters, double factor);

// Where a gradient is largest.
struct LargestGradient {
  std::string name;        // of the parameter; empty when there is no gradient
  double magnitude = 0.0;  // its largest |g|, NaN if any is
};
// The parameter with the largest |g|, for the message about a loss that is not finite. A gradient that is not
// finite counts as largest; the first with a NaN is named.
LargestGradient largest_gradient(std::span<const nn::Parameter> parameters);

}  // namespace fovea::optim
