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
  Tensor x;   // [T, in]
  Tensor gx;  // [T, 3·hidden] r | z | n, activated
  Tensor gh;  // [T, 3·hidden] U·h + b'
  Tensor h;   // [T, hidden]
  Tensor h0;  // in rank order, undefined: zeros
};

class GruFunction final : public Function {
 public:
  GruFunction(Pass pass, Tensor w, Tensor u, TimeSteps time)
      : pass_(std::move(pass)), w_(std::move(w)), u_(std::move(u)), time_(std::move(time)) {}
  const char* name() const override { return "gru"; }

  void backward(Tensor dy) override {
    const int64_t tokens = time_.tokens();
    const int64_t hidden = u_.dim(1);
    const int64_t width = 3 * hidden;
    Tensor dh = Tensor::empty({tokens, hidden});
    kernels::gather_rows(tokens, hidden, dy.data(), time_.token_of_row(), dh.data());
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
    if (needs(2)) {
      const Tensor previous = previous_states(pass_.h, pass_.h0, time_);
      weight_gradient(2, width, hidden, pass_.gh, previous);
    }
    if (needs(1)) weight_gradient(1, width, w_.dim(1), pass_.gx, pass_.x);
    if (needs(3)) bias_gradient(3, width, pass_.gx);
    if (needs(4)) bias_gradient(4, width, pass_.gh);
    if (needs(0)) {
      Tensor dx_rows = Tensor::empty({tokens, w_.dim(1)});
      kernels::matmul({.m = tokens, .n = w_.dim(1), .k = width}, pass_.gx.data(), w_.data(), dx_rows.data());
      Tensor dx = Tensor::empty(dx_rows.shape());
      kernels::gather_rows(tokens, w_.dim(1), dx_rows.data(), time_.row_of_token(), dx.data());
      give(0, std::move(dx));
    }
  }

 private:
  void weight_gradient(int i, int64_t rows, int64_t columns, const Tensor& dgates, const Tensor& input) {
    auto [dw, accumulate] = target(i);
    kernels::matmul(
        {.m = rows, .n = columns, .k = time_.tokens(), .transpose_a = true, .accumulate = accumulate},
        dgates.data(), input.data(), dw.data());
  }
  void bias_gradient(int i, int64_t width, const Tensor& dgates) {
    auto [db, accumulate] = target(i);
    kernels::column_sums(time_.tokens(), width, dgates.data(), db.data(), accumulate);
  }

  Pass pass_;
  Tensor w_, u_;
  TimeSteps time_;
};

}  // namespace

Var gru(const Var& x, const Var& w, const Var& u, const Var& b, const Var& b_recurrent,
        const Offsets& offsets, const RecurrentOptions& options) {
  const auto [in, hidden] = check_recurrent("gru", 3, x, w, u, offsets);
  const int64_t width = 3 * hidden;
  check_optional_vector("gru", "b", b.value(), width);
  check_optional_vector("gru", "b_recurrent", b_recurrent.value(), width);
  TimeSteps time(offsets, options.direction);
  const int64_t tokens = time.tokens();

  Pass pass;
  if (options.initial != nullptr) pass.h0 = ranked_state("gru", options.initial->h, time, hidden);
  pass.x = Tensor::empty({tokens, in});
  kernels::gather_rows(tokens, in, x.value().data(), time.token_of_row(), pass.x.data());
  pass.gx = Tensor::empty({tokens, width});
  kernels::matmul({.m = tokens, .n = width, .k = in, .transpose_b = true, .bias = data_or_null(b.value())},
                  pass.x.data(), w.value().data(), pass.gx.data());
  pass.gh = Tensor::empty({tokens, width});
  pass.h = Tensor::empty({tokens, hidden});
  // Every step reads U with few rows: turned round once, [hidden, 3·hidden], it need not be packed by each.
  const int64_t stride = kernels::transpose_stride(width);
  Tensor turned = Tensor::empty({hidden, stride});
  kernels::transpose(width, hidden, u.value().data(), hidden, turned.data(), stride);
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
                       .ldb = stride,
                       .bias = data_or_null(b_recurrent.value())},
                      h_prev != nullptr ? h_prev : pass.h.data(), turned.data(), gh);
      kernels::gru_cell_forward(alive, hidden, pass.gx.data() + first * width, gh, h_prev,
                                pass.h.data() + first * hidden);
    }
  });
  Tensor y = Tensor::empty({tokens, hidden});
  kernels::gather_rows(tokens, hidden, pass.h.data(), time.row_of_token(), y.data());
  if (options.final != nullptr) options.final->h = final_state(pass.h, pass.h0, time, hidden);
  if (!recording({&x, &w, &u, &b, &b_recurrent})) return Var(std::move(y));
  return record<GruFunction>(std::move(y), {x, w, u, b, b_recurrent}, std::move(pass), w.value(), u.value(),
                             std::move(time));
}

}  // namespace fovea::autograd
