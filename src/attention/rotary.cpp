#include "fovea/attention/rotary.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>
#include <numbers>
#include <vector>

#include "attention/sequence.hpp"
#include "base/check.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea {
namespace {

// What angles depend on beside the position.
struct Turning {
  int64_t width = 0;
  RotaryScaling scaling = RotaryScaling::kNone;
  float base = 0.0f, factor = 1.0f;
  int64_t original_length = 0;
  float beta_fast = 0.0f, beta_slow = 0.0f;
  bool operator==(const Turning&) const = default;

  // Radians a position of pair p.
  double frequency(int64_t p) const {
    const double exponent = -2.0 * static_cast<double>(p) / static_cast<double>(width);
    const auto stretch = static_cast<double>(factor), b = static_cast<double>(base);
    const double plain = std::pow(b, exponent);
    switch (scaling) {
      case RotaryScaling::kNone:
        return plain;
      case RotaryScaling::kLinear:
        return plain / stretch;
      case RotaryScaling::kNtk: {
        const double d = static_cast<double>(width);
        return width <= 2 ? plain : std::pow(b * std::pow(stretch, d / (d - 2)), exponent);
      }
      case RotaryScaling::kYarn: {
        // The pair (a real number) that turns `times` over the original length.
        const auto pair_of = [&](float times) {
          const double turns =
              static_cast<double>(original_length) / (2 * std::numbers::pi * static_cast<double>(times));
          return static_cast<double>(width) * std::log(turns) / (2 * std::log(b));
        };
        const double last = static_cast<double>(width) - 1;
        const double low = std::clamp(std::floor(pair_of(beta_fast)), 0.0, last);
        const double high = std::clamp(std::ceil(pair_of(beta_slow)), 0.0, last);
        const double width_of_ramp = std::max(high - low, 1e-3);
        const double slow = std::clamp((static_cast<double>(p) - low) / width_of_ramp, 0.0, 1.0);
        return plain * (1 - slow) + plain / stretch * slow;
      }
    }
    return plain;
  }
  double growth() const {
    return scaling == RotaryScaling::kYarn ? 0.1 * std::log(static_cast<double>(factor)) + 1 : 1.0;
  }
};

// cos and sin of position · frequency, times growth: row `position` holds width/2 cosines, then as many
// sines.
template <class T>
struct Angles {
  Turning turning;
  int64_t first = 0, positions = 0;  // of positions first … first + positions − 1
  Buffer<T> values;
  const T* row(int64_t position) const { return values.data() + (position - first) * turning.width; }
};

template <class T>
std::shared_ptr<const Angles<T>> compute_angles(const Turning& turning, int64_t first, int64_t positions) {
  const int64_t width = turning.width;
  auto angles = std::make_shared<Angles<T>>(
      Angles<T>{turning, first, positions, Buffer<T>(static_cast<size_t>(positions * width))});
  const double growth = turning.growth();
  T* values = angles->values.data();
  const int64_t pairs = width / 2;
  parallel_for(positions, std::max<int64_t>(1, 512 / pairs), [&](int64_t begin, int64_t end) {
    for (int64_t p = 0; p < pairs; ++p) {
      const double frequency = turning.frequency(p);
      for (int64_t t = begin; t < end; ++t) {
        const double angle = frequency * static_cast<double>(first + t);
        values[t * width + p] = static_cast<T>(growth * std::cos(angle));
        values[t * width + pairs + p] = static_cast<T>(growth * std::sin(angle));
      }
    }
  });
  return angles;
}

// Every layer and every step asks for the same angles, and sines cost far more than turning by them: the last
// few tables are kept, each grown by doubling. Where one would be above 16 MB, a call computes its own
// positions alone.
std::shared_ptr<const Angles<float>> kept_angles(const Turning& turning, int64_t first, int64_t count) {
  constexpr int64_t kMostFloats = int64_t{1} << 22;
  constexpr size_t kMostTables = 4;
  static std::mutex mutex;
  static std::vector<std::shared_ptr<const Angles<float>>> tables;
  const int64_t width = turning.width;
  const int64_t positions = first + count;
  if (positions > kMostFloats / width) return compute_angles<float>(turning, first, count);
  const std::lock_guard lock(mutex);
  const auto same = [&](const auto& table) { return table->turning == turning; };
  const auto found = std::find_if(tables.begin(), tables.end(), same);
  if (found != tables.end() && (*found)->positions >= positions) return *found;
  int64_t capacity = 64;
  while (capacity < positions) capacity *= 2;
  auto table = compute_angles<float>(turning, 0, std::min(capacity, kMostFloats / width));
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
template <class T>
void turn_token(T* x, const HeadsView<T>& view, int64_t pairs, RotaryLayout layout,
                const T* __restrict cosine, const T* __restrict sine, T direction) {
  for (int64_t h = 0; h < view.dim(1); ++h, x += view.stride(1)) {
    if (layout == RotaryLayout::kHalf) {
      T* __restrict first = x;
      T* __restrict second = x + pairs;
      for (int64_t p = 0; p < pairs; ++p) {
        const T a = first[p], b = second[p], s = direction * sine[p];
        first[p] = a * cosine[p] - b * s;
        second[p] = a * s + b * cosine[p];
      }
    } else {
      for (int64_t p = 0; p < pairs; ++p) {
        const T a = x[2 * p], b = x[2 * p + 1], s = direction * sine[p];
        x[2 * p] = a * cosine[p] - b * s;
        x[2 * p + 1] = a * s + b * cosine[p];
      }
    }
  }
}

template <class T>
void turn(const char* call, HeadsView<T> x, const Offsets& offsets, const RotarySpec& spec, T direction) {
  const int64_t width = spec.width == 0 ? x.dim(2) : spec.width;
  check_argument(offsets.total() == x.dim(0), call, "expected offsets over the {} tokens of x, got {}",
                 x.dim(0), offsets.total());
  check_argument(width >= 0 && width % 2 == 0 && width <= x.dim(2), call,
                 "expected an even width of at most {} (the heads' width), got {}", x.dim(2), width);
  check_argument(spec.base > 0 && std::isfinite(spec.base), call, "expected a finite base > 0, got {}",
                 spec.base);
  check_argument(spec.factor >= 1 && std::isfinite(spec.factor), call,
                 "expected a finite factor >= 1, got {}", spec.factor);
  check_argument(spec.original_length >= 1, call, "expected original_length >= 1, got {}",
                 spec.original_length);
  check_argument(spec.beta_slow > 0 && spec.beta_fast > spec.beta_slow, call,
                 "expected beta_fast > beta_slow > 0, got {} and {}", spec.beta_fast, spec.beta_slow);
  check_argument(spec.first_position >= 0 && spec.first_position < int64_t{1} << 31, call,
                 "expected first_position in [0, 2^31), got {}", spec.first_position);
  const int64_t pairs = width / 2;
  if (pairs == 0 || x.dim(0) == 0) return;

  const Turning turning{width,          spec.scaling,  spec.base, spec.factor, spec.original_length,
                        spec.beta_fast, spec.beta_slow};
  const int64_t first = spec.first_position, count = offsets.max_length();
  std::shared_ptr<const Angles<T>> angles;
  if constexpr (std::is_same_v<T, float>) {
    angles = kept_angles(turning, first, count);
  } else {
    angles = compute_angles<T>(turning, first, count);
  }
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, x.dim(1) * width));
  parallel_for(x.dim(0), grain, [&](int64_t begin, int64_t end) {
    for_tokens(offsets, begin, end, [&](int64_t n, int64_t i, int64_t) {
      const T* row = angles->row(i + spec.first_position);
      turn_token(row_of(x, offsets, n, i, 0), x, pairs, spec.layout, row, row + pairs, direction);
    });
  });
}

}  // namespace

void rotary_forward(HeadsView<float> x, const Offsets& offsets, const RotarySpec& spec) {
  turn("rotary_forward", x, offsets, spec, 1.0f);
}

void rotary_forward(HeadsView<double> x, const Offsets& offsets, const RotarySpec& spec) {
  turn("rotary_forward", x, offsets, spec, 1.0);
}

void rotary_backward(HeadsView<float> dx, const Offsets& offsets, const RotarySpec& spec) {
  turn("rotary_backward", dx, offsets, spec, -1.0f);
}

void rotary_backward(HeadsView<double> dx, const Offsets& offsets, const RotarySpec& spec) {
  turn("rotary_backward", dx, offsets, spec, -1.0);
}

}  // namespace fovea
