// Attention weights as bytes. The code of a weight w in [0, 1] is c = round(M · w^(1/p)), and c stands for
// (c/M)^p: the step grows with the weight's size, so that strong weights are told to a percent or two and
// weak ones still show on a logarithmic scale. |w^(1/p) − ŵ^(1/p)| ≤ 1/(2M); to first order |w − ŵ| ≤ p·w^(1
// − 1/p)/(2M).
#pragma once

#include <array>
#include <cstdint>

namespace fovea::explain {

struct Quantiser {
  int power;    // p
  int maximum;  // M <= 255

  uint8_t encode(float weight) const;
  double decode(int code) const;
  double error(double weight) const;  // the largest |w − ŵ| at this weight
};

// From finest to coarsest. Coarser ones have fewer distinct codes and pack tighter.
inline constexpr std::array<Quantiser, 6> kQuantisers{
    {{3, 255}, {2, 255}, {2, 180}, {2, 128}, {2, 90}, {2, 64}}};

}  // namespace fovea::explain
