// Rotary positions (Su et al., "RoFormer", 2021): pair p of a head is turned by the angle position ·
// base^(−2p / width).
#pragma once

#include <cstdint>
#include <span>

#include "fovea/tensor/ragged.hpp"
#include "fovea/tensor/view.hpp"

namespace fovea {

enum class RotaryLayout : uint8_t {
  kHalf,         // pairs (p, p + width/2): Llama, GPT-NeoX
  kInterleaved,  // pairs (2p, 2p + 1): RoFormer, GPT-J
};

struct RotarySpec {
  RotaryLayout layout = RotaryLayout::kHalf;
  int64_t width = 0;           // how many leading elements of each head are turned (even); 0: all of D
  float base = 10000.0f;       // the paper's
  int64_t first_position = 0;  // of each sequence's first token (the length of a cache, when decoding)
};

// Turns x [T, H, D] in place; a token's position is its index within its sequence + first_position.
// ArgumentError unless width is even and at most D, the offsets cover T and base > 0.
void rotary_forward(HeadsView<float> x, const Offsets& offsets, const RotarySpec& spec = {});
// Turns the gradient back, in place: dx = Rᵀ·dy.
void rotary_backward(HeadsView<float> dx, const Offsets& offsets, const RotarySpec& spec = {});

}  // namespace fovea
