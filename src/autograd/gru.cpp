#include "autograd/recurrent_support.hpp"
#include "fovea/kernels/elementwise.hpp"
#include "fovea/kernels/rnn.hpp"

namespace fovea::autograd {
namespace {

// All matrices are in the order of TimeSteps: row begin(g, t) + r is step t of the sequence of rank r in
// group g.
struct Pass {
  Tensor gx;  // [T, 3·hidden] r | z | n, activated
  Tensor gh;  // [T, 3·hidden] U·h + b'
  Tensor h;   // [T, hidden]
  Tensor h0;  // in rank order, undefined: zeros
};

class GruFunction final : public RecurrentFunction {
 public:
  GruFunction(Pass pass, Tensor x, Tensor w, Tensor u, TimeSteps time)
      : RecurrentFunction(std::move(x), std::move(w), std::move(u), std::move(time)),
        pass_(std::move(pass)) {}
  const char* name() const override { return "gru"; }

  void backward(Tensor dy) override {
    const int64_t hidden = u_.dim(1);
    const int64_t width = 3 * hidden;
    Tensor dh = rows_of_steps(dy, time_);
    dy = {};
    Tensor direct = Tensor::empty({time_.sequences(), hidden});
    for_each_group(time_, u_, [&](int64_t g) {
      float* direct_group = direct.data() + time_.rank_begin(g) * hidden;
      for (int64_t t = time_.steps(g) - 1; t >= 0; --t) {
        const int64_t first = time_.begin(g, t);
        const int64_t alive = time_.alive(g, t);
        float* dgx = pass_.gx.data() + first * width;  // takes the place of what it was made from
        float* dgh = pass_.gh.data() + first * width;
        kernels::gru_cell_backward(alive, hidden, dgx, dgh, state_before(pass_.h, pass_.h0, time_, g, t),
                                   dh.data() + first * hidden, dgx, dgh, direct_group);
        if (t == 0) continue;
        float* dh_prev = dh.data() + time_.begin(g, t - 1) * hidden;
        kernels::add(alive * hidden, dh_prev, direct_group, dh_prev);
        kernels::matmul({.m = alive, .n = hidden, .k = width, .accumulate = true}, dgh, u_.data(), dh_prev);
      }
    });
    state_gradient(pass_.gh, pass_.h, pass_.h0);
    bias_gradient(3, pass_.gx);
    bias_gradient(4, pass_.gh);
    input_gradients(pass_.gx);
  }

 private:
  Pass pass_;
};

}  // namespace

Var gru(const Var& x, const Var& w, const Var& u, const Var& b, const Var& b_recurrent,
        const Offsets& offsets, const RecurrentOptions& options) {
  const int64_t hidden = check_recurrent("gru", 3, x, w, u, offsets);
  const int64_t width = 3 * hidden;
  check_optional_vector("gru", "b", b.value(), width);
  check_optional_vector("gru", "b_recurrent", b_recurrent.value(), width);
  TimeSteps time(offsets, options.direction);
  Pass pass;
  if (options.initial != nullptr) pass.h0 = ranked_state("gru", options.initial->h, time, hidden);
  Tensor rows = rows_of_steps(x.value(), time);
  pass.gx = input_gates(rows, w.value(), b.value());
  pass.gh = Tensor::empty({time.tokens(), width});
  pass.h = Tensor::empty({time.tokens(), hidden});
  // Every step reads U with few rows: turned round once, [hidden, 3·hidden], it need not be packed by each.
  const Turned turned(u.value());
  for_each_group(time, u.value(), [&](int64_t g) {
    for (int64_t t = 0; t < time.steps(g); ++t) {
      const int64_t first = time.begin(g, t);
      const int64_t alive = time.alive(g, t);
      const float* h_prev = state_before(pass.h, pass.h0, time, g, t);
      float* gh = pass.gh.data() + first * width;
      // Without a state before it, the product is zero: k = 0 leaves the bias.
      kernels::matmul({.m = alive,
                       .n = width,
                       .k = h_prev != nullptr ? hidden : 0,
                       .lda = hidden,
                       .ldb = turned.stride,
                       .bias = data_or_null(b_recurrent.value())},
                      h_prev != nullptr ? h_prev : pass.h.data(), turned.data.data(), gh);
      kernels::gru_cell_forward(alive, hidden, pass.gx.data() + first * width, gh, h_prev,
                                pass.h.data() + first * hidden);
    }
  });
  Tensor y = rows_of_tokens(pass.h, time);
  if (options.final != nullptr) options.final->h = final_state(pass.h, pass.h0, time, hidden);
  if (!recording({&x, &w, &u, &b, &b_recurrent})) return Var(std::move(y));
  return record<GruFunction>(std::move(y), {x, w, u, b, b_recurrent}, std::move(pass), std::move(rows),
                             w.value(), u.value(), std::move(time));
}

}  // namespace fovea::autograd
