#include "explain/quantise.hpp"

#include <algorithm>
#include <cmath>

namespace fovea::explain {

uint8_t Quantiser::encode(float weight) const {
  const double w = std::clamp(static_cast<double>(weight), 0.0, 1.0);
  const double root = power == 3 ? std::cbrt(w) : std::sqrt(w);
  return static_cast<uint8_t>(std::lround(root * maximum));
}

double Quantiser::decode(int code) const {
  return std::pow(static_cast<double>(code) / maximum, power);
}

double Quantiser::error(double weight) const {
  const double half_step = 0.5 / maximum;
  const double root = std::pow(weight, 1.0 / power);
  // The upper side of the interval is the wider one: x^p is convex.
  return std::pow(root + half_step, power) - weight;
}

}  // namespace fovea::explain
