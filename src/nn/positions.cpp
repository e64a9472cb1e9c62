#include "fovea/nn/positions.hpp"

#include <bit>
#include <cmath>

#include "base/check.hpp"
#include "fovea/autograd/functions/arithmetic.hpp"
#include "fovea/autograd/functions/embedding.hpp"
#include "fovea/nn/dropout.hpp"
#include "fovea/nn/initialization.hpp"

namespace fovea::nn {

using autograd::Var;

Tensor sinusoidal_table(int64_t length, int64_t width) {
  Tensor table = Tensor::empty({length, width});
  for (int64_t p = 0; p < length; ++p) {
    for (int64_t c = 0; c < width; ++c) {
      const int64_t pair = c - c % 2;
      const double angle =
          static_cast<double>(p) / std::pow(10000.0, static_cast<double>(pair) / static_cast<double>(width));
      table.data()[p * width + c] = static_cast<float>(c % 2 == 0 ? std::sin(angle) : std::cos(angle));
    }
  }
  return table;
}

Tensor alibi_slopes(int64_t heads) {
  check_argument(heads >= 1, "alibi_slopes", "expected at least one head, got {}", heads);
  const auto power = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(heads)));
  const auto slope = [](int64_t index, int64_t count) {  // of the index-th of a power of two, from 1
    return std::exp2(-8.0 * static_cast<double>(index) / static_cast<double>(count));
  };
  Tensor slopes = Tensor::empty({heads});
  for (int64_t h = 0; h < heads; ++h) {
    slopes.data()[h] =
        static_cast<float>(h < power ? slope(h + 1, power) : slope(2 * (h - power) + 1, 2 * power));
  }
  return slopes;
}

Tensor positions_of(const Offsets& offsets, std::span<const int64_t> first) {
  check_argument(first.empty() || static_cast<int64_t>(first.size()) == offsets.count(), "positions",
                 "expected a first position for each of {} sequences, got {}", offsets.count(), first.size());
  Tensor positions = Tensor::empty({offsets.total()}, DType::kI32);
  for (int64_t n = 0; n < offsets.count(); ++n) {
    int64_t p = first.empty() ? 0 : first[static_cast<size_t>(n)];
    for (int64_t t = offsets.begin(n); t < offsets.end(n); ++t)
      positions.data<int32_t>()[t] = static_cast<int32_t>(p++);
  }
  return positions;
}

Embedding::Embedding(int64_t count, int64_t width, Random& random, double deviation) {
  check_argument(count >= 1 && width >= 1, "embedding", "expected a table of at least [1, 1], got [{}, {}]",
                 count, width);
  weight = Var::parameter(normal_tensor({count, width}, random, deviation));
}

void Embedding::visit(ModuleVisitor& visitor) {
  visitor.parameter("weight", weight, Decay::kNo);
}

Var Embedding::forward(const Tensor& ids) const {
  return autograd::embedding(weight, ids);
}

TokenEmbedding::TokenEmbedding(const TokenEmbeddingOptions& options, Random& random)
    : tokens(options.vocabulary, options.width, random, options.deviation), options_(options) {
  if (options.positions == Positions::kLearned) {
    positions_ =
        Var::parameter(normal_tensor({options.max_length, options.width}, random, options.deviation));
  } else if (options.positions == Positions::kSinusoidal) {
    positions_ = Var(sinusoidal_table(options.max_length, options.width));
  }
  if (options.norm) norm_ = Norm(options.width);
}

void TokenEmbedding::visit(ModuleVisitor& visitor) {
  visitor.child("tokens", tokens);
  if (positions_.requires_grad()) visitor.parameter("positions.weight", positions_, Decay::kNo);
  if (options_.norm) visitor.child("norm", norm_);
}

Var TokenEmbedding::forward(Context& context, const Tensor& ids, const Offsets& offsets,
                            std::span<const int64_t> first) const {
  Var x = token_dropout(context, tokens.forward(ids), options_.token_dropout);
  if (options_.scale != 1.0F) x = autograd::scale(std::move(x), options_.scale);
  if (positions_.defined()) {
    for (int64_t n = 0; n < offsets.count(); ++n) {
      const int64_t end = offsets.length(n) + (first.empty() ? 0 : first[static_cast<size_t>(n)]);
      check_argument(end <= options_.max_length, "positions",
                     "expected sequences of at most {} tokens, got {}", options_.max_length, end);
    }
    x = autograd::add_embedding(x, positions_, positions_of(offsets, first));
  }
  if (options_.norm) x = norm_.forward(x);
  return dropout(context, std::move(x), options_.dropout);
}

}  // namespace fovea::nn
