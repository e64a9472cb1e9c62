// The weight of a sink, made again from what the softmax left of a row.
#pragma once

#include <cmath>

#include "fovea/kernels/softmax_row.hpp"
#include "kernels/attention_units.hpp"

namespace fovea {

inline double sink_weight(float sink, const SoftmaxRow& row) {
  const double above = static_cast<double>(kernels::in_log2_units(sink)) - static_cast<double>(row.max);
  return std::exp2(above - static_cast<double>(row.log_sum));
}

}  // namespace fovea
