#include "base/check.hpp"
#include "fovea/optim/optimizer.hpp"

namespace fovea::optim {
namespace {

class Sgd final : public Optimizer {
 public:
  Sgd(std::vector<ParameterGroup> groups, const SgdOptions& options)
      : Optimizer(std::move(groups),
                  options.momentum > 0 ? std::vector<std::string>{"momentum"} : std::vector<std::string>{}),
        options_(options) {
    check_argument(options.momentum >= 0 && options.momentum < 1, "sgd", "expected 0 <= momentum < 1, got {}",
                   options.momentum);
    check_argument(!options.nesterov || options.momentum > 0, "sgd",
                   "expected a momentum > 0 for nesterov, got 0");
  }

  const char* name() const override { return "sgd"; }

 private:
  void apply(std::span<const kernels::OptimizerTensor> items, float learning_rate,
             int64_t /*update*/) override {
    kernels::SgdStep step;
    step.learning_rate = learning_rate;
    step.momentum = options_.momentum;
    step.nesterov = options_.nesterov;
    kernels::sgd_step(step, items);
  }

  SgdOptions options_;
};

}  // namespace

std::unique_ptr<Optimizer> make_sgd(std::vector<ParameterGroup> groups, const SgdOptions& options) {
  return std::make_unique<Sgd>(std::move(groups), options);
}

}  // namespace fovea::optim
