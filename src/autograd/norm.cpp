#include "fovea/autograd/functions/norm.hpp"

#include "autograd/support.hpp"
#include "fovea/kernels/norm.hpp"

namespace fovea::autograd {
namespace {

// Both norms: inputs are x, gamma and (layer norm) beta. RMSNorm has no mean and no beta.
class NormFunction final : public Function {
 public:
  NormFunction(Tensor x, Tensor gamma, Tensor beta, Tensor mean, Tensor rstd)
      : x_(std::move(x)),
        gamma_(std::move(gamma)),
        beta_(std::move(beta)),
        mean_(std::move(mean)),
        rstd_(std::move(rstd)) {}
  const char* name() const override { return mean_.defined() ? "layer_norm" : "rms_norm"; }
  // x and the statistics of its rows are kept in any case; the output need not be, by those who read it.
  bool remakes() const override { return true; }
  Tensor output() override {
    if (!output_.defined()) {
      output_ = Tensor::empty(x_.shape());
      kernels::norm_apply(x_.dim(0), x_.dim(1), x_.data(), data_or_null(gamma_), data_or_null(beta_),
                          data_or_null(mean_), rstd_.data(), output_.data());
    }
    return output_;
  }
  void backward(Tensor dy) override {
    output_ = {};
    Tensor dgamma = parameter_target(1);
    Tensor dbeta = mean_.defined() ? parameter_target(2) : Tensor{};
    float* dg = dgamma.defined() ? dgamma.data() : nullptr;
    float* db = dbeta.defined() ? dbeta.data() : nullptr;
    if (!needs(0)) {
      Tensor unused = Tensor::empty(dy.shape());
      run(dy.data(), unused.data(), dg, db, false);
    } else if (fresh(0) && dy.unique()) {
      run(dy.data(), dy.data(), dg, db, false);
      give(0, std::move(dy));
    } else {
      auto [dx, accumulate] = target(0);
      run(dy.data(), dx.data(), dg, db, accumulate);
    }
  }

 private:
  Tensor parameter_target(int i) {
    if (!needs(i)) return {};
    auto [grad, accumulate] = target(i);
    zero_unless(accumulate, grad);
    return grad;
  }
  void run(const float* dy, float* dx, float* dgamma, float* dbeta, bool accumulate) {
    const int64_t rows = x_.dim(0);
    const int64_t cols = x_.dim(1);
    if (mean_.defined()) {
      kernels::layer_norm_backward(rows, cols, x_.data(), data_or_null(gamma_), mean_.data(), rstd_.data(),
                                   dy, dx, dgamma, dbeta, accumulate);
    } else {
      kernels::rms_norm_backward(rows, cols, x_.data(), data_or_null(gamma_), rstd_.data(), dy, dx, dgamma,
                                 accumulate);
    }
  }

  Tensor x_, gamma_, beta_, mean_, rstd_;
  Tensor output_;  // once it was asked for, until the walk back comes here
};

class SumFunction final : public Function {
 public:
  const char* name() const override { return "residual_sum"; }
  void backward(Tensor dy) override {
    if (needs(1)) give(1, dy);
    if (needs(0)) give(0, std::move(dy));
  }
};

void check_norm(const char* op, const Var& x, const Var& gamma, const Var& beta) {
  check_rank(op, "x", x, 2);
  check_optional_vector(op, "gamma", gamma.value(), x.dim(1));
  check_optional_vector(op, "beta", beta.value(), x.dim(1));
}

// A vector of row statistics where the backward pass will want it.
Tensor statistics(bool wanted, int64_t rows) {
  return wanted ? Tensor::empty({rows}) : Tensor{};
}
float* statistics_data(Tensor& t) {
  return t.defined() ? t.data() : nullptr;
}

// The sum's memory: x's, or the residual's, or fresh.
Tensor sum_memory(Var& x, Var& residual) {
  if (x.value().unique()) return x.value();
  if (residual.value().unique()) return residual.value();
  return Tensor::empty(x.shape());
}

}  // namespace

Var layer_norm(const Var& x, const Var& gamma, const Var& beta, float eps) {
  check_norm("layer_norm", x, gamma, beta);
  const bool keep = recording({&x, &gamma, &beta});
  Tensor y = Tensor::empty(x.shape());
  Tensor mean = statistics(keep, x.dim(0));
  Tensor rstd = statistics(keep, x.dim(0));
  kernels::layer_norm_forward(x.dim(0), x.dim(1), x.value().data(), data_or_null(gamma.value()),
                              data_or_null(beta.value()), eps, y.data(), statistics_data(mean),
                              statistics_data(rstd));
  return record<NormFunction>(std::move(y), {x, gamma, beta}, x.value(), gamma.value(), beta.value(),
                              std::move(mean), std::move(rstd));
}

Var rms_norm(const Var& x, const Var& gamma, float eps) {
  check_norm("rms_norm", x, gamma, {});
  Tensor y = Tensor::empty(x.shape());
  Tensor rstd = statistics(recording({&x, &gamma}), x.dim(0));
  kernels::rms_norm_forward(x.dim(0), x.dim(1), x.value().data(), data_or_null(gamma.value()), eps, y.data(),
                            statistics_data(rstd));
  return record<NormFunction>(std::move(y), {x, gamma}, x.value(), gamma.value(), Tensor{}, Tensor{},
                              std::move(rstd));
}

SumAndNorm add_layer_norm(Var x, Var residual, const Var& gamma, const Var& beta, float eps) {
  check_norm("add_layer_norm", x, gamma, beta);
  check_same_shape("add_layer_norm", x, residual);
  const int64_t rows = x.dim(0);
  const bool keep = recording({&x, &residual, &gamma, &beta});
  Tensor total = sum_memory(x, residual);
  Tensor y = Tensor::empty(x.shape());
  Tensor mean = statistics(keep, rows);
  Tensor rstd = statistics(keep, rows);
  kernels::add_layer_norm_forward(rows, x.dim(1), x.value().data(), residual.value().data(),
                                  data_or_null(gamma.value()), data_or_null(beta.value()), eps, total.data(),
                                  y.data(), statistics_data(mean), statistics_data(rstd));
  Var sum = record<SumFunction>(std::move(total), {x, residual});
  Var norm = record<NormFunction>(std::move(y), {sum, gamma, beta}, sum.value(), gamma.value(), beta.value(),
                                  std::move(mean), std::move(rstd));
  return {std::move(sum), std::move(norm)};
}

SumAndNorm add_rms_norm(Var x, Var residual, const Var& gamma, float eps) {
  check_norm("add_rms_norm", x, gamma, {});
  check_same_shape("add_rms_norm", x, residual);
  const int64_t rows = x.dim(0);
  Tensor total = sum_memory(x, residual);
  Tensor y = Tensor::empty(x.shape());
  Tensor rstd = statistics(recording({&x, &residual, &gamma}), rows);
  kernels::add_rms_norm_forward(rows, x.dim(1), x.value().data(), residual.value().data(),
                                data_or_null(gamma.value()), eps, total.data(), y.data(),
                                statistics_data(rstd));
  Var sum = record<SumFunction>(std::move(total), {x, residual});
  Var norm = record<NormFunction>(std::move(y), {sum, gamma}, sum.value(), gamma.value(), Tensor{}, Tensor{},
                                  std::move(rstd));
  return {std::move(sum), std::move(norm)};
}

}  // namespace fovea::autograd
