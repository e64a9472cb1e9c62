#include "autograd/recurrent_support.hpp"
#include "fovea/kernels/rnn.hpp"

namespace fovea::autograd {
namespace {

// All matrices are in the order of TimeSteps: row begin(g, t) + r is step t of the sequence of rank r in
// group g.
struct Pass {
  Tensor gates;   // [T, 4·hidden], activated
  Tensor c;       // [T, hidden]
  Tensor h;       // [T, hidden]
  Tensor h0, c0;  // in rank order, undefined: zeros
};

class LstmFunction final : public RecurrentFunction {
 public:
  LstmFunction(Pass pass, Tensor x, Tensor w, Tensor u, TimeSteps time)
      : RecurrentFunction(std::move(x), std::move(w), std::move(u), std::move(time)),
        pass_(std::move(pass)) {}
  const char* name() const override { return "lstm"; }

  void backward(Tensor dy) override {
    const int64_t hidden = u_.dim(1);
    const int64_t width = 4 * hidden;
    // dh starts as the gradient from outside; each step adds what flows back from the step after.
    Tensor dh = rows_of_steps(dy, time_);
    dy = {};
    Tensor dgates = std::move(pass_.gates);  // takes the place of what it was made from
    Tensor dc = Tensor::zeros({time_.sequences(), hidden});
    for_each_group(time_, u_, [&](int64_t g) {
      float* dc_group = dc.data() + time_.rank_begin(g) * hidden;
      for (int64_t t = time_.steps(g) - 1; t >= 0; --t) {
        const int64_t first = time_.begin(g, t);
        const int64_t alive = time_.alive(g, t);
        float* dg = dgates.data() + first * width;
        kernels::lstm_cell_backward(alive, hidden, dg, state_before(pass_.c, pass_.c0, time_, g, t),
                                    pass_.c.data() + first * hidden, dh.data() + first * hidden, dc_group, dg,
                                    dc_group);
        if (t == 0) continue;
        kernels::matmul({.m = alive, .n = hidden, .k = width, .accumulate = true}, dg, u_.data(),
                        dh.data() + time_.begin(g, t - 1) * hidden);
      }
    });
    pass_.c = {};
    state_gradient(dgates, pass_.h, pass_.h0);
    bias_gradient(3, dgates);
    input_gradients(dgates);
  }

 private:
  Pass pass_;
};

}  // namespace

Var lstm(const Var& x, const Var& w, const Var& u, const Var& b, const Offsets& offsets,
         const RecurrentOptions& options) {
  const int64_t hidden = check_recurrent("lstm", 4, x, w, u, offsets);
  const int64_t width = 4 * hidden;
  check_optional_vector("lstm", "b", b.value(), width);
  TimeSteps time(offsets, options.direction);
  Pass pass;
  if (options.initial != nullptr) {
    pass.h0 = ranked_state("lstm", options.initial->h, time, hidden);
    pass.c0 = ranked_state("lstm", options.initial->c, time, hidden);
  }
  Tensor rows = rows_of_steps(x.value(), time);
  pass.gates = input_gates(rows, w.value(), b.value());
  pass.c = Tensor::empty({time.tokens(), hidden});
  pass.h = Tensor::empty({time.tokens(), hidden});
  // Every step reads U with few rows: turned round once, [hidden, 4·hidden], it need not be packed by each.
  const Turned turned(u.value());
  for_each_group(time, u.value(), [&](int64_t g) {
    for (int64_t t = 0; t < time.steps(g); ++t) {
      const int64_t first = time.begin(g, t);
      const int64_t alive = time.alive(g, t);
      float* gates = pass.gates.data() + first * width;
      const float* h_prev = state_before(pass.h, pass.h0, time, g, t);
      if (h_prev != nullptr) {
        kernels::matmul({.m = alive, .n = width, .k = hidden, .ldb = turned.stride, .accumulate = true},
                        h_prev, turned.data.data(), gates);
      }
      kernels::lstm_cell_forward(alive, hidden, gates, state_before(pass.c, pass.c0, time, g, t),
                                 pass.c.data() + first * hidden, pass.h.data() + first * hidden);
    }
  });
  Tensor y = rows_of_tokens(pass.h, time);
  if (options.final != nullptr) {
    options.final->h = final_state(pass.h, pass.h0, time, hidden);
    options.final->c = final_state(pass.c, pass.c0, time, hidden);
  }
  if (!recording({&x, &w, &u, &b})) return Var(std::move(y));
  return record<LstmFunction>(std::move(y), {x, w, u, b}, std::move(pass), std::move(rows), w.value(),
                              u.value(), std::move(time));
}

}  // namespace fovea::autograd
