// What LSTM and GRU share: argument checks, and states between sequence order and rank order. Internal.
#pragma once

#include <cstring>

#include "autograd/support.hpp"
#include "autograd/time_steps.hpp"
#include "fovea/base/parallel.hpp"
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
  check_argument((state.shape() == Shape{time.sequences(), hidden}), op,
                 "expected a state of shape [{}, {}], got {}", time.sequences(), hidden,
                 to_string(state.shape()));
  Tensor ranked = Tensor::empty(state.shape());
  kernels::gather_rows(time.sequences(), hidden, state.data(), time.order(), ranked.data());
  return ranked;
}

// The state of each sequence after its last step, in sequence order: rows of `rows`, or what `initial`
// held (zeros when undefined) for an empty sequence.
inline Tensor final_state(const Tensor& rows, const Tensor& initial_ranked, const TimeSteps& time,
                          int64_t hidden) {
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

// Where the state before step t of group g stands: the rows of step t − 1, or the initial ones, or null for
// zeros.
inline const float* state_before(const Tensor& rows, const Tensor& initial_ranked, const TimeSteps& time,
                                 int64_t g, int64_t t) {
  const int64_t hidden = rows.dim(1);
  if (t > 0) return rows.data() + time.begin(g, t - 1) * hidden;
  return initial_ranked.defined() ? initial_ranked.data() + time.rank_begin(g) * hidden : nullptr;
}

// Runs body(g) for each group. A step's product has 2·gates·hidden² operations a row; below about a million
// in all (20 microseconds) no thread is woken.
template <class Body>
void for_each_group(const TimeSteps& time, const Tensor& u, Body&& body) {
  const double operations = 2.0 * static_cast<double>(u.numel()) * static_cast<double>(time.tokens());
  parallel_tasks(time.groups(), operations > 1e6, body);
}

// h of the step before, for every row: what the recurrent weights were multiplied with.
inline Tensor previous_states(const Tensor& h, const Tensor& initial_ranked, const TimeSteps& time) {
  Tensor previous = Tensor::empty(h.shape());
  const int64_t hidden = h.dim(1);
  kernels::gather_rows(time.tokens(), hidden, h.data(), time.previous_row(), previous.data());
  for (int64_t g = 0; initial_ranked.defined() && g < time.groups(); ++g) {
    if (time.steps(g) == 0) continue;
    std::memcpy(previous.data() + time.begin(g, 0) * hidden,
                initial_ranked.data() + time.rank_begin(g) * hidden,
                static_cast<size_t>(time.alive(g, 0) * hidden) * sizeof(float));
  }
  return previous;
}

}  // namespace fovea::autograd
