// Relevance of tokens from a model's gradients and from leaving tokens out. Free functions, thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fovea/base/function_ref.hpp"
#include "fovea/tensor/tensor.hpp"

namespace fovea::explain {

// r_t = Σ_c x_tc · ∂s/∂x_tc, x [T, C] the embeddings and ∂s/∂x [T, C] the gradient of the explained score s:
// the first order of s's change were the token's embedding 0. Positive: the token speaks for s. Float64 sums.
// Returns [T]. ArgumentError unless both are float32 of one shape [T, C].
std::vector<float> gradient_times_input(const Tensor& embeddings, const Tensor& gradients);

// Scores several variants of a text at once: kept[v] holds the tokens that stay, and scores[v] wants their
// score.
using VariantScores = FunctionRef<void(std::span<const std::vector<int64_t>> kept, std::span<double> scores)>;
// r_t = s(all tokens) − s(tokens without those of group t), for groups of tokens that are left out together
// (a token each, or a word each). `score` gets, for each variant, the numbers of the tokens that stay,
// ascending, and writes its score; it is called with up to `batch` variants at a time. The value of a group
// is given to each of its tokens. groups [T] numbers each token's group; −1: never left out (0). Returns [T].
// ArgumentError if batch < 1.
std::vector<float> occlusion(std::span<const int64_t> groups, VariantScores score, int64_t batch = 64);

}  // namespace fovea::explain
