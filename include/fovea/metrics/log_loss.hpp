// Log loss (cross-entropy of probabilities). Pure function, thread-safe.
#pragma once

#include <cstdint>
#include <span>

namespace fovea::metrics {

// −(1/N) Σ ln p_i[truth_i] in nats; truth [N], probabilities [N, classes], rows summing to one.
// Probabilities are clipped to [ε, 1 − ε] with float32's ε = 2⁻²³, so one certain mistake costs 15.9 nats,
// not ∞. ArgumentError when N is 0, the sizes disagree or a class number is outside [0, classes).
double log_loss(std::span<const int32_t> truth, std::span<const float> probabilities, int64_t classes);

}  // namespace fovea::metrics
