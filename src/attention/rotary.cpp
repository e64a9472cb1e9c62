#include "fovea/attention/rotary.hpp"

#include <algorithm>
#include <cmath>

#include "base/check.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea {
namespace {

// Turns every head of one token. cos and sin hold one number a pair.
void turn_token(float* x, const HeadsView<float>& view, int64_t pairs, RotaryLayout layout,
                const float* cosine, const float* sine) {
  for (int64_t h = 0; h < view.dim(1); ++h, x += view.stride(1)) {
    if (layout == RotaryLayout::kHalf) {
      float* y = x + pairs;
      for (int64_t p = 0; p < pairs; ++p) {
        const float a = x[p], b = y[p];
        x[p] = a * cosine[p] - b * sine[p];
        y[p] = a * sine[p] + b * cosine[p];
      }
    } else {
      for (int64_t p = 0; p < pairs; ++p) {
        const float a = x[2 * p], b = x[2 * p + 1];
        x[2 * p] = a * cosine[p] - b * sine[p];
        x[2 * p + 1] = a * sine[p] + b * cosine[p];
      }
    }
  }
}

void turn(const char* call, HeadsView<float> x, const Offsets& offsets, const RotarySpec& spec,
          float direction) {
  const int64_t width = spec.width == 0 ? x.dim(2) : spec.width;
  check_argument(offsets.total() == x.dim(0), call, "expected offsets over the {} tokens of x, got {}",
                 x.dim(0), offsets.total());
  check_argument(width >= 0 && width % 2 == 0 && width <= x.dim(2), call,
                 "expected an even width of at most {} (the heads' width), got {}", x.dim(2), width);
  check_argument(spec.base > 0, call, "expected base > 0, got {}", spec.base);
  check_argument(spec.first_position >= 0, call, "expected first_position >= 0, got {}", spec.first_position);
  const int64_t pairs = width / 2;
  if (pairs == 0 || x.dim(0) == 0) return;

  // Angles by position, computed once for the longest sequence: the sines cost more than the turning.
  const int64_t longest = offsets.max_length();
  Buffer<float> table(static_cast<size_t>(longest * width));
  float* angles = table.data();
  parallel_for(longest, std::max<int64_t>(1, 512 / pairs), [&](int64_t begin, int64_t end) {
    for (int64_t p = 0; p < pairs; ++p) {
      const double frequency = std::pow(static_cast<double>(spec.base),
                                        -2.0 * static_cast<double>(p) / static_cast<double>(width));
      for (int64_t t = begin; t < end; ++t) {
        const double angle = frequency * static_cast<double>(t + spec.first_position);
        angles[t * width + p] = static_cast<float>(std::cos(angle));
        angles[t * width + pairs + p] = direction * static_cast<float>(std::sin(angle));
      }
    }
  });
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, x.dim(1) * width));
  parallel_for(x.dim(0), grain, [&](int64_t begin, int64_t end) {
    const auto starts = offsets.values();
    auto n = std::upper_bound(starts.begin(), starts.end(), begin) - starts.begin() - 1;
    for (int64_t t = begin; t < end; ++t) {
      while (t >= offsets.end(n)) ++n;
      const float* row = angles + (t - offsets.begin(n)) * width;
      turn_token(x.data + t * x.stride(0), x, pairs, spec.layout, row, row + pairs);
    }
  });
}

}  // namespace

void rotary_forward(HeadsView<float> x, const Offsets& offsets, const RotarySpec& spec) {
  turn("rotary_forward", x, offsets, spec, 1.0f);
}

void rotary_backward(HeadsView<float> dx, const Offsets& offsets, const RotarySpec& spec) {
  turn("rotary_backward", dx, offsets, spec, -1.0f);
}

}  // namespace fovea
