// Learning-rate schedules: pure functions of the step, so that a resumed run needs nothing but its step
// number.
#pragma once

#include <cstdint>

namespace fovea::optim {

// The course of the rate after the warm-up.
enum class ScheduleKind {
  kConstant,           // peak
  kLinear,             // from peak down to final · peak at total_steps
  kCosine,             // half a cosine from peak to final · peak at total_steps (Loshchilov and Hutter 2017)
  kInverseSquareRoot,  // peak · √(warm_up / step), with max(warm_up, 1) (Vaswani et al. 2017)
  kOneCycle,  // cosine up from peak / 25 over warm_up, cosine down to final · peak (Smith and Topin 2018)
};

// A learning rate for every step; by default always the same.
struct Schedule {
  ScheduleKind kind = ScheduleKind::kConstant;  // needs no number of steps
  double peak = 1e-3;                           // the learning rate at the end of the warm-up
  // Steps of linear warm-up from peak / warm_up_steps to peak (one-cycle: of the cosine rise). 0 = none,
  // except that one-cycle then rises over 30 % of the steps, as its paper does.
  int64_t warm_up_steps = 0;
  int64_t total_steps = 0;      // needed by linear, cosine and one-cycle
  double final_fraction = 0.0;  // of peak, reached at the last step and kept from there on

  // The rate of step 0, 1, 2, …: step s is the (s + 1)-th update, so that the first update of a warm-up over
  // W steps uses peak / W and the W-th uses peak. ArgumentError where validate() throws.
  double operator()(int64_t step) const;

  // ArgumentError unless peak and final_fraction are finite and >= 0, the step counts >= 0, and
  // total_steps > warm_up_steps for the kinds that end.
  void validate() const;
};

}  // namespace fovea::optim
