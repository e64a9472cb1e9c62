// What LSTM and GRU share: argument checks, rows and states between token order and the order of steps, the
// products outside the steps and their gradients. Internal.
#pragma once

#include <cstring>

#include "autograd/support.hpp"
#include "autograd/time_steps.hpp"
#include "autograd/turned.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/kernels/embedding.hpp"
#include "fovea/kernels/matmul.hpp"
#include "fovea/kernels/reduce.hpp"

namespace fovea::autograd {

// Checks what both take; returns the hidden width.
inline int64_t check_recurrent(const char* op, int64_t gates, const Var& x, const Var& w, const Var& u,
                               const Offsets& offsets) {
  check_rank(op, "x", x, 2);
  check_rank(op, "w", w, 2);
  check_rank(op, "u", u, 2);
  const int64_t hidden = u.dim(1);
  check_argument(u.dim(0) == gates * hidden, op, "expected u of shape [{}·hidden, hidden], got {}", gates,
                 to_string(u.shape()));
  check_argument((w.shape() == Shape{gates * hidden, x.dim(1)}), op, "expected w of shape [{}, {}], got {}",
                 gates * hidden, x.dim(1), to_string(w.shape()));
  check_offsets(op, offsets, x.dim(0));
  return hidden;
}

// Rows [T, n] of tokens, in the order of the steps; and back.
inline Tensor rows_of_steps(const Tensor& tokens, const TimeSteps& time) {
  Tensor rows = Tensor::empty(tokens.shape());
  kernels::gather_rows(time.tokens(), tokens.dim(1), tokens.data(), time.token_of_row(), rows.data());
  return rows;
}
inline Tensor rows_of_tokens(const Tensor& steps, const TimeSteps& time) {
  Tensor rows = Tensor::empty(steps.shape());
  kernels::gather_rows(time.tokens(), steps.dim(1), steps.data(), time.row_of_token(), rows.data());
  return rows;
}

// What the gates of all steps take from the input: x·wᵀ + b [T, gates·hidden].
inline Tensor input_gates(const Tensor& x, const Tensor& w, const Tensor& b) {
  Tensor gates = Tensor::empty({x.dim(0), w.dim(0)});
  kernels::matmul({.m = x.dim(0), .n = w.dim(0), .k = x.dim(1), .transpose_b = true, .bias = data_or_null(b)},
                  x.data(), w.data(), gates.data());
  return gates;
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

// Inputs 0, 1 and 2 are x, w and u; biases follow. Keeps x in the order of the steps.
class RecurrentFunction : public Function {
 protected:
  RecurrentFunction(Tensor x, Tensor w, Tensor u, TimeSteps time)
      : x_(std::move(x)), w_(std::move(w)), u_(std::move(u)), time_(std::move(time)) {}

  // From the gates' gradients [T, gates·hidden], those of w and x, of u, and of the bias that is input i.
  void input_gradients(const Tensor& dgates) {
    if (needs(1)) weight_gradient(1, dgates, x_);
    if (!needs(0)) return;
    Tensor dx = Tensor::empty({dgates.dim(0), w_.dim(1)});
    kernels::matmul({.m = dgates.dim(0), .n = w_.dim(1), .k = dgates.dim(1)}, dgates.data(), w_.data(),
                    dx.data());
    give(0, rows_of_tokens(dx, time_));
  }
  void state_gradient(const Tensor& dgates, const Tensor& h, const Tensor& initial_ranked) {
    if (needs(2)) weight_gradient(2, dgates, previous_states(h, initial_ranked, time_));
  }
  void bias_gradient(int i, const Tensor& dgates) {
    if (!needs(i)) return;
    auto [db, accumulate] = target(i);
    kernels::column_sums(dgates.dim(0), dgates.dim(1), dgates.data(), db.data(), accumulate);
  }

  Tensor x_, w_, u_;
  TimeSteps time_;

 private:
  void weight_gradient(int i, const Tensor& dgates, const Tensor& input) {
    auto [dw, accumulate] = target(i);
    kernels::matmul({.m = dgates.dim(1),
                     .n = input.dim(1),
                     .k = dgates.dim(0),
                     .transpose_a = true,
                     .accumulate = accumulate},
                    dgates.data(), input.data(), dw.data());
  }
};

}  // namespace fovea::autograd
