// What the softmax of a call leaves of each query and head, and how calls hand it on.
#pragma once

#include <cstddef>

#include "fovea/kernels/softmax_row.hpp"

namespace fovea {

// Where a call writes what the softmax leaves of each row, [Tq, H], contiguous; null: not wanted. A pointer
// to floats means the lse.
struct SoftmaxOutput {
  float* lse = nullptr;        // natural; −inf without keys
  SoftmaxRow* rows = nullptr;  // from which the weights can be made again, however large the scores

  // Implicit, so that a call takes nullptr, a float* or both pointers in this place.
  SoftmaxOutput(std::nullptr_t = nullptr) {}
  SoftmaxOutput(float* natural, SoftmaxRow* saved = nullptr) : lse(natural), rows(saved) {}

  // Whether a call has anything to write here.
  bool wanted() const { return lse != nullptr || rows != nullptr; }
};

// What a forward call has left of each row, [Tq, H], as later calls take it: the rows, or an lse alone, whose
// rounding then makes every weight wrong by a factor of up to 1 ± |lse|·6e-8.
struct SoftmaxInput {
  const float* lse = nullptr;        // natural; read where rows is null
  const SoftmaxRow* rows = nullptr;  // as SoftmaxOutput had them written

  // Implicit, so that a call takes whichever pointer is at hand; nullptr only where there is no row.
  SoftmaxInput(std::nullptr_t = nullptr) {}
  SoftmaxInput(const float* natural) : lse(natural) {}
  SoftmaxInput(const SoftmaxRow* saved) : rows(saved) {}

  // Whether there is anything to read.
  bool given() const { return lse != nullptr || rows != nullptr; }
};

}  // namespace fovea
