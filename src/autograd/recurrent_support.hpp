// What LSTM and GRU share: argument checks, and states between sequence order and rank order. Internal.
#pragma once

#include <cstring>

#include "autograd/support.hpp"
#include "autograd/time_steps.hpp"
#include "fovea/kernels/embedding.hpp"

namespace fovea::autograd {

struct RecurrentSizes {
  int64_t in = 0;
  int64_t hidden = 0;
};

inline RecurrentSizes check_recurrent(const char* op, int64_t gates, const Var& x, const Var& w, const Var& u,
                                      const Offsets& offsets) {
  check_rank(op, "x", x, 2);
  check_rank(op, "w", w, 2);
  check_rank(op, "u", u, 2);
  const RecurrentSizes s{x.dim(1), u.dim(1)};
  check_argument(u.dim(0) == gates * s.hidden, op, "expected u of shape [{}·hidden, hidden], got {}", gates,
                 to_string(u.shape()));
  check_argument((w.shape() == Shape{gates * s.hidden, s.in}), op, "expected w of shape [{}, {}], got {}",
                 gates * s.hidden, s.in, to_string(w.shape()));
  check_offsets(op, offsets, x.dim(0));
  return s;
}

// The state in rank order [N, hidden]; undefined for zeros.
inline Tensor ranked_state(const char* op, const Tensor& state, const TimeSteps& time, int64_t hidden) {
  if (!state.defined()) return {};
  check_f32(op, "a state", state);
  check_argument((state.shape() == Shape{time.sequences(), hidden}), op, "expected a state of shape [{}, {}], got {}",
                 time.sequences(), hidden, to_string(state.shape()));
  Tensor ranked = Tensor::empty(state.shape());
  kernels::gather_rows(time.sequences(), hidden, state.data(), time.order(), ranked.data());
  return ranked;
}

// The state of each sequence after its last step, in sequence order: rows of `rows` (time-major), or what `initial`
// held (zeros when undefined) for an empty sequence.
inline Tensor final_state(const Tensor& rows, const Tensor& initial_ranked, const TimeSteps& time, int64_t hidden) {
  Tensor state = Tensor::empty({time.sequences(), hidden});
  const auto bytes = static_cast<size_t>(hidden) * sizeof(float);
  for (int64_t r = 0; r < time.sequences(); ++r) {
    float* to = state.data() + time.order()[r] * hidden;
    const int64_t row = time.last_row(r);
    if (row >= 0) {
      std::memcpy(to, rows.data() + row * hidden, bytes);
    } else if (initial_ranked.defined()) {
      std::memcpy(to, initial_ranked.data() + r * hidden, bytes);
    } else {
      std::memset(to, 0, bytes);
    }
  }
  return state;
}

// h of the step before, for every time-major row: what the recurrent weights were multiplied with.
inline Tensor previous_states(const Tensor& h, const Tensor& initial_ranked, const TimeSteps& time) {
  Tensor previous = Tensor::empty(h.shape());
  const int64_t hidden = h.dim(1);
  kernels::gather_rows(time.tokens(), hidden, h.data(), time.previous_row(), previous.data());
  if (initial_ranked.defined() && time.steps() > 0) {
    std::memcpy(previous.raw(), initial_ranked.raw(), static_cast<size_t>(time.alive(0) * hidden) * sizeof(float));
  }
  return previous;
}

}  // namespace fovea::autograd
