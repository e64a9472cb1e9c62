#include "fovea/attention/rotary.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>
#include <vector>

#include "attention/sequence.hpp"
#include "base/check.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea {
namespace {

// cos and sin of position · base^(−2p / width): row `position` holds width/2 cosines, then width/2 sines.
struct Angles {
  int64_t width = 0, positions = 0;
  float base = 0.0f;
  Buffer<float> values;
  const float* row(int64_t position) const { return values.data() + position * width; }
};

std::shared_ptr<const Angles> compute_angles(int64_t width, float base, int64_t positions) {
  auto angles = std::make_shared<Angles>(
      Angles{width, positions, base, Buffer<float>(static_cast<size_t>(positions * width))});
  float* values = angles->values.data();
  const int64_t pairs = width / 2;
  parallel_for(positions, std::max<int64_t>(1, 512 / pairs), [&](int64_t begin, int64_t end) {
    for (int64_t p = 0; p < pairs; ++p) {
      const double exponent = -2.0 * static_cast<double>(p) / static_cast<double>(width);
      const double frequency = std::pow(static_cast<double>(base), exponent);
      for (int64_t t = begin; t < end; ++t) {
        const double angle = frequency * static_cast<double>(t);
        values[t * width + p] = static_cast<float>(std::cos(angle));
        values[t * width + pairs + p] = static_cast<float>(std::sin(angle));
      }
    }
  });
  return angles;
}

// Every layer and every step asks for the same angles, and sines cost far more than turning by them: the last
// few tables are kept, each grown by doubling. Tables above 16 MB are computed for their call alone.
std::shared_ptr<const Angles> angles_for(int64_t width, float base, int64_t positions) {
  constexpr int64_t kMostFloats = int64_t{1} << 22;
  constexpr size_t kMostTables = 4;
  static std::mutex mutex;
  static std::vector<std::shared_ptr<const Angles>> tables;
  if (positions > kMostFloats / width) return compute_angles(width, base, positions);
  const std::lock_guard lock(mutex);
  const auto same = [&](const auto& table) { return table->width == width && table->base == base; };
  const auto found = std::find_if(tables.begin(), tables.end(), same);
  if (found != tables.end() && (*found)->positions >= positions) return *found;
  int64_t capacity = 64;
  while (capacity < positions) capacity *= 2;
  auto table = compute_angles(width, base, std::min(capacity, kMostFloats / width));
  if (found != tables.end()) {
    *found = table;
  } else {
    if (tables.size() == kMostTables) tables.erase(tables.begin());
    tables.push_back(table);
  }
  return table;
}

// Turns every head of one token by the angles whose cosines and sines are given, one a pair; direction −1
// turns back.
void turn_token(float* x, const HeadsView<float>& view, int64_t pairs, RotaryLayout layout,
                const float* __restrict cosine, const float* __restrict sine, float direction) {
  for (int64_t h = 0; h < view.dim(1); ++h, x += view.stride(1)) {
    if (layout == RotaryLayout::kHalf) {
      float* __restrict first = x;
      float* __restrict second = x + pairs;
      for (int64_t p = 0; p < pairs; ++p) {
        const float a = first[p], b = second[p], s = direction * sine[p];
        first[p] = a * cosine[p] - b * s;
        second[p] = a * s + b * cosine[p];
      }
    } else {
      for (int64_t p = 0; p < pairs; ++p) {
        const float a = x[2 * p], b = x[2 * p + 1], s = direction * sine[p];
        x[2 * p] = a * cosine[p] - b * s;
        x[2 * p + 1] = a * s + b * cosine[p];
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
  check_argument(spec.base > 0 && std::isfinite(spec.base), call, "expected a finite base > 0, got {}",
                 spec.base);
  check_argument(spec.first_position >= 0 && spec.first_position < int64_t{1} << 31, call,
                 "expected first_position in [0, 2^31), got {}", spec.first_position);
  const int64_t pairs = width / 2;
  if (pairs == 0 || x.dim(0) == 0) return;

  const auto angles = angles_for(width, spec.base, offsets.max_length() + spec.first_position);
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, x.dim(1) * width));
  parallel_for(x.dim(0), grain, [&](int64_t begin, int64_t end) {
    for_tokens(offsets, begin, end, [&](int64_t n, int64_t i, int64_t) {
      const float* row = angles->row(i + spec.first_position);
      turn_token(row_of(x, offsets, n, i, 0), x, pairs, spec.layout, row, row + pairs, direction);
    });
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
