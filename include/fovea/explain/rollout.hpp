// Attention rollout (Abnar & Zuidema 2020, arXiv:2005.00928): how much of each input token reaches the top of
// a stack of attention layers when every layer is read as a weighted mean plus its residual connection.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fovea/base/function_ref.hpp"
#include "fovea/tensor/ragged.hpp"
#include "fovea/tensor/tensor.hpp"

namespace fovea::explain {

// Writes the weights of one packed query over the keys of its own sequence, averaged over the heads.
//   layer  0 is the lowest;  query  in [0, T);  row  [length of the query's sequence]; keys that the query
//   may not see get 0. A query without any key leaves a row of zeros.
using HeadMeanRow = FunctionRef<void(int64_t layer, int64_t query, std::span<float> row)>;

// How a layer is read.
struct RolloutOptions {
  // Share of the residual connection in Â = (1 − residual)·A + residual·I; 0.5 is the paper's "A + I,
  // row-normalised".
  double residual = 0.5;
};

// v ← v·Â_l from the top layer down, where `start` [T] says which tokens are read at the top: 1 at the first
// token for first-token pooling, 1/length for mean pooling, 1 at the last token for a language model's next
// token. Returns [T]; each sequence's sum is that of its `start`. Sequences never mix. Holds two vectors of T
// float64, never a T × T matrix; rows whose v is 0 are not asked for. ArgumentError if start has not T
// elements, if layers < 0 or if residual is not in [0, 1].
std::vector<float> attention_rollout(int64_t layers, const Offsets& offsets, std::span<const float> start,
                                     HeadMeanRow rows, const RolloutOptions& options = {});

// The same for one sequence whose weights are at hand: one tensor [H, T, T] a layer, lowest first.
// ArgumentError if a tensor has another shape.
std::vector<float> attention_rollout(std::span<const Tensor> layers, std::span<const float> start,
                                     const RolloutOptions& options = {});

}  // namespace fovea::explain
