// Rotary positions (Su et al., "RoFormer", 2021): pair p of a head is turned by the angle position ·
// base^(−2p / width).
#pragma once

#include <cstdint>
#include <span>

#include "fovea/tensor/ragged.hpp"
#include "fovea/tensor/view.hpp"

namespace fovea {

// Which two numbers of a head are turned together; weights trained with one layout are wrong with the other.
enum class RotaryLayout : uint8_t {
  kHalf,         // pairs (p, p + width/2): Llama, GPT-NeoX
  kInterleaved,  // pairs (2p, 2p + 1): RoFormer, GPT-J
};

// How angles are stretched so that a model reads further than it was trained. ω_p = base^(−2p / width).
enum class RotaryScaling : uint8_t {
  kNone,
  kLinear,  // positions / factor (Chen et al., "Position interpolation", 2023)
  kNtk,  // base · factor^(width / (width − 2)): the slowest pair is stretched by factor, the fastest kept
  // Pairs that turn more than beta_fast times over original_length are kept, those below beta_slow divided by
  // factor, linearly between; and q and k grow by 0.1·ln(factor) + 1 (Peng et al., "YaRN", 2023).
  kYarn,
};

// How positions turn a head. The defaults are RoFormer's angles over the whole width, unstretched.
struct RotarySpec {
  RotaryLayout layout = RotaryLayout::kHalf;  // of the pairs: that of Llama
  int64_t width = 0;           // how many leading elements of each head are turned (even); 0: all of D
  float base = 10000.0f;       // the paper's
  int64_t first_position = 0;  // of each sequence's first token (the length of a cache, when decoding)
  RotaryScaling scaling = RotaryScaling::kNone;  // kNone does without factor and all that follows
  float factor = 1.0f;                           // how much further than trained, >= 1
  int64_t original_length = 2048;                // trained on, of kYarn
  float beta_fast = 32.0f, beta_slow = 1.0f;     // the paper's, of kYarn
};

// Turns x [T, H, D] in place; a token's position is its index within its sequence + first_position.
// ArgumentError unless width is even and at most D, the offsets cover T, base > 0, factor >= 1,
// original_length >= 1 and beta_fast > beta_slow > 0.
void rotary_forward(HeadsView<float> x, const Offsets& offsets, const RotarySpec& spec = {});
void rotary_forward(HeadsView<double> x, const Offsets& offsets, const RotarySpec& spec = {});
// Turns the gradient back, in place: dx = Rᵀ·dy (R with the growth of kYarn).
void rotary_backward(HeadsView<float> dx, const Offsets& offsets, const RotarySpec& spec = {});
void rotary_backward(HeadsView<double> dx, const Offsets& offsets, const RotarySpec& spec = {});

}  // namespace fovea
