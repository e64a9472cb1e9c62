// Rank agreement between two ways of scoring the same items, e.g. attention rollout against gradient × input.
// Free functions, thread-safe.
#pragma once

#include <span>

namespace fovea::explain {

// Kendall's τ-b: (C − D) / sqrt((P − Ta)(P − Tb)), where P = n(n−1)/2 pairs, C of them ordered alike in a and
// b, D ordered oppositely, Ta and Tb tied in a and in b. In [−1, 1]; O(n log n) (Knight 1966). NaN when n < 2
// or when a or b is constant: there is no order to agree on. NaN in, NaN out. ArgumentError if the lengths
// differ.
double kendall_tau(std::span<const float> a, std::span<const float> b);

// Spearman's ρ: Pearson's correlation of the ranks, tied items sharing the mean of their ranks. In [−1, 1].
// NaN and errors as for kendall_tau.
double spearman_rho(std::span<const float> a, std::span<const float> b);

}  // namespace fovea::explain
