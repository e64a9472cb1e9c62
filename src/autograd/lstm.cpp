#include "autograd/recurrent_support.hpp"
#include "fovea/kernels/elementwise.hpp"
#include "fovea/kernels/matmul.hpp"
#include "fovea/kernels/reduce.hpp"
#include "fovea/kernels/rnn.hpp"
#include "fovea/kernels/transpose.hpp"

namespace fovea::autograd {
namespace {

// All matrices are in the order of TimeSteps: row begin(g, t) + r is step t of the sequence of rank r in
// group g.
struct Pass {
  Tensor x;       // [T, in]
  Tensor gates;   // [T, 4·hidden], activated
  Tensor c;       // [T, hidden]
  Tensor h;       // [T, hidden]
  Tensor h0, c0;  // in rank order, undefined: zeros
};

class LstmFunction final : public Function {
 public:
  LstmFunction(Pass pass, Tensor w, Tensor u, TimeSteps time)
      : pass_(std::move(pass)), w_(std::move(w)), u_(std::move(u)), time_(std::move(time)) {}
  const char* name() const override { return "lstm"; }

  void backward(Tensor dy) override {
    const int64_t tokens = time_.tokens();
    const int64_t hidden = u_.dim(1);
    const int64_t width = 4 * hidden;
    // dh starts as the gradient from outside; each step adds what flows back from the step after.
    Tensor dh = Tensor::empty({tokens, hidden});
    kernels::gather_rows(tokens, hidden, dy.data(), time_.token_of_row(), dh.data());
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
    if (needs(2)) {
      const Tensor previous = previous_states(pass_.h, pass_.h0, time_);
      auto [du, accumulate] = target(2);
      kernels::matmul({.m = width, .n = hidden, .k = tokens, .transpose_a = true, .accumulate = accumulate},
                      dgates.data(), previous.data(), du.data());
    }
    if (needs(1)) {
      auto [dw, accumulate] = target(1);
      kernels::matmul(
          {.m = width, .n = w_.dim(1), .k = tokens, .transpose_a = true, .accumulate = accumulate},
          dgates.data(), pass_.x.data(), dw.data());
    }
    if (needs(3)) {
      auto [db, accumulate] = target(3);
      kernels::column_sums(tokens, width, dgates.data(), db.data(), accumulate);
    }
    if (needs(0)) {
      Tensor dx_rows = Tensor::empty({tokens, w_.dim(1)});
      kernels::matmul({.m = tokens, .n = w_.dim(1), .k = width}, dgates.data(), w_.data(), dx_rows.data());
      Tensor dx = Tensor::empty(dx_rows.shape());
      kernels::gather_rows(tokens, w_.dim(1), dx_rows.data(), time_.row_of_token(), dx.data());
      give(0, std::move(dx));
    }
  }

 private:
  Pass pass_;
  Tensor w_, u_;
  TimeSteps time_;
};

}  // namespace

Var lstm(const Var& x, const Var& w, const Var& u, const Var& b, const Offsets& offsets,
         const RecurrentOptions& options) {
  const auto [in, hidden] = check_recurrent("lstm", 4, x, w, u, offsets);
  const int64_t width = 4 * hidden;
  check_optional_vector("lstm", "b", b.value(), width);
  TimeSteps time(offsets, options.direction);
  const int64_t tokens = time.tokens();

  Pass pass;
  if (options.initial != nullptr) {
    pass.h0 = ranked_state("lstm", options.initial->h, time, hidden);
    pass.c0 = ranked_state("lstm", options.initial->c, time, hidden);
  }
  pass.x = Tensor::empty({tokens, in});
  kernels::gather_rows(tokens, in, x.value().data(), time.token_of_row(), pass.x.data());
  pass.gates = Tensor::empty({tokens, width});
  kernels::matmul({.m = tokens, .n = width, .k = in, .transpose_b = true, .bias = data_or_null(b.value())},
                  pass.x.data(), w.value().data(), pass.gates.data());
  pass.c = Tensor::empty({tokens, hidden});
  pass.h = Tensor::empty({tokens, hidden});
  // Every step reads U with few rows: turned round once, [hidden, 4·hidden], it need not be packed by each.
  const int64_t stride = kernels::transpose_stride(width);
  Tensor turned = Tensor::empty({hidden, stride});
  kernels::transpose(width, hidden, u.value().data(), hidden, turned.data(), stride);
  for_each_group(time, u.value(), [&](int64_t g) {
    for (int64_t t = 0; t < time.steps(g); ++t) {
      const int64_t first = time.begin(g, t);
      const int64_t alive = time.alive(g, t);
      float* gates = pass.gates.data() + first * width;
      const float* h_prev = state_before(pass.h, pass.h0, time, g, t);
      if (h_prev != nullptr) {
        kernels::matmul({.m = alive, .n = width, .k = hidden, .ldb = stride, .accumulate = true}, h_prev,
                        turned.data(), gates);
      }
      kernels::lstm_cell_forward(alive, hidden, gates, state_before(pass.c, pass.c0, time, g, t),
                                 pass.c.data() + first * hidden, pass.h.data() + first * hidden);
    }
  });
  Tensor y = Tensor::empty({tokens, hidden});
  kernels::gather_rows(tokens, hidden, pass.h.data(), time.row_of_token(), y.data());
  if (options.final != nullptr) {
    options.final->h = final_state(pass.h, pass.h0, time, hidden);
    options.final->c = final_state(pass.c, pass.c0, time, hidden);
  }
  if (!recording({&x, &w, &u, &b})) return Var(std::move(y));
  return record<LstmFunction>(std::move(y), {x, w, u, b}, std::move(pass), w.value(), u.value(),
                              std::move(time));
}

}  // namespace fovea::autograd
