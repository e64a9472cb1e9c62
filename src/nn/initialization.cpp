#include "fovea/nn/initialization.hpp"

#include <algorithm>
#include <cmath>

#include "base/check.hpp"

namespace fovea::nn {
namespace {

constexpr double kDeviation = 0.02;  // GPT-2's and BERT's

thread_local bool skipped = false;

template <class Draw>
Tensor drawn(const Shape& shape, Draw draw) {
  Tensor tensor = Tensor::empty(shape);
  if (skipped) return tensor;
  for (float& value : tensor.span()) value = static_cast<float>(draw());
  return tensor;
}

}  // namespace

SkipInitialization::SkipInitialization() : before_(skipped) {
  skipped = true;
}

SkipInitialization::~SkipInitialization() {
  skipped = before_;
}

Tensor normal_tensor(const Shape& shape, Random& random, double deviation, double mean) {
  return drawn(shape, [&] { return mean + deviation * random.normal(); });
}

Tensor truncated_normal_tensor(const Shape& shape, Random& random, double deviation) {
  return drawn(shape, [&] {
    double x = random.normal();
    while (std::abs(x) > 2.0) x = random.normal();
    return deviation * x;
  });
}

Tensor uniform_tensor(const Shape& shape, Random& random, double bound) {
  return drawn(shape, [&] { return bound * (2.0 * static_cast<double>(random.uniform()) - 1.0); });
}

Tensor xavier_uniform(const Shape& shape, Random& random, double gain) {
  check_argument(shape.rank() >= 2, "xavier_uniform", "expected at least two dimensions, got {}",
                 to_string(shape));
  double window = 1;
  for (int i = 1; i + 1 < shape.rank(); ++i) window *= static_cast<double>(shape[i]);
  const double in = window * static_cast<double>(shape.dim(-1));
  const double out = window * static_cast<double>(shape[0]);
  return uniform_tensor(shape, random, gain * std::sqrt(6.0 / std::max(in + out, 1.0)));
}

Tensor kaiming_normal(const Shape& shape, Random& random) {
  check_argument(shape.rank() >= 2, "kaiming_normal", "expected at least two dimensions, got {}",
                 to_string(shape));
  const double in = static_cast<double>(shape.numel()) / static_cast<double>(std::max<int64_t>(shape[0], 1));
  return normal_tensor(shape, random, std::sqrt(2.0 / std::max(in, 1.0)));
}

Tensor initialized(const Shape& shape, Initialization how, Random& random) {
  switch (how) {
    case Initialization::kXavierUniform:
      return xavier_uniform(shape, random);
    case Initialization::kKaimingNormal:
      return kaiming_normal(shape, random);
    case Initialization::kTruncatedNormal:
      return truncated_normal_tensor(shape, random, kDeviation);
    case Initialization::kNormal:
      return normal_tensor(shape, random, kDeviation);
  }
  return {};
}

}  // namespace fovea::nn
