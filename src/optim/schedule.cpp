#include "fovea/optim/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.hpp"

namespace fovea::optim {
namespace {

constexpr double kOneCycleStart = 1.0 / 25.0;
constexpr double kOneCycleRise = 0.3;

// From `from` to `to` along half a cosine; t in [0, 1].
double cosine_between(double from, double to, double t) {
  return to + (from - to) * 0.5 * (1.0 + std::cos(std::numbers::pi * t));
}

bool ends(ScheduleKind kind) {
  return kind == ScheduleKind::kLinear || kind == ScheduleKind::kCosine || kind == ScheduleKind::kOneCycle;
}

}  // namespace

void Schedule::validate() const {
  check_argument(std::isfinite(peak) && peak >= 0, "schedule", "expected a peak learning rate >= 0, got {}",
                 peak);
  check_argument(std::isfinite(final_fraction) && final_fraction >= 0, "schedule",
                 "expected a final fraction >= 0, got {}", final_fraction);
  check_argument(warm_up_steps >= 0, "schedule", "expected warm-up steps >= 0, got {}", warm_up_steps);
  check_argument(!ends(kind) || total_steps > warm_up_steps, "schedule",
                 "expected more total steps than warm-up steps, got {} and {}", total_steps, warm_up_steps);
}

double Schedule::operator()(int64_t step) const {
  validate();
  check_argument(step >= 0, "schedule", "expected a step >= 0, got {}", step);
  const auto s = static_cast<double>(step);
  const double low = peak * final_fraction;
  if (kind == ScheduleKind::kOneCycle) {
    const double total = static_cast<double>(std::max<int64_t>(total_steps - 1, 1));
    const double rise = warm_up_steps > 0 ? static_cast<double>(warm_up_steps)
                                          : std::clamp(std::round(kOneCycleRise * total), 1.0, total);
    if (s < rise) return cosine_between(peak * kOneCycleStart, peak, s / rise);
    return cosine_between(peak, low, total > rise ? std::min(1.0, (s - rise) / (total - rise)) : 0.0);
  }
  if (step < warm_up_steps) return peak * (s + 1.0) / static_cast<double>(warm_up_steps);
  const auto warm = static_cast<double>(warm_up_steps);
  switch (kind) {
    case ScheduleKind::kConstant:
    case ScheduleKind::kOneCycle:
      return peak;
    case ScheduleKind::kInverseSquareRoot: {
      const double w = std::max(warm, 1.0);
      return peak * std::sqrt(w / std::max(s + 1.0, w));
    }
    case ScheduleKind::kLinear:
    case ScheduleKind::kCosine: {
      const double t = std::min(1.0, (s - warm) / (static_cast<double>(total_steps) - warm));
      return kind == ScheduleKind::kLinear ? peak + (low - peak) * t : cosine_between(peak, low, t);
    }
  }
  return peak;
}

}  // namespace fovea::optim
