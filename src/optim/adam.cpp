#include "base/check.hpp"
#include "fovea/optim/optimizer.hpp"

namespace fovea::optim {
namespace {

enum class WeightDecay { kInGradient, kDecoupled };

class Adam final : public Optimizer {
 public:
  Adam(std::vector<ParameterGroup> groups, const AdamOptions& options, WeightDecay decay)
      : Optimizer(std::move(groups), {"first_moment", "second_moment"}), options_(options), decay_(decay) {
    check_argument(options.beta1 >= 0 && options.beta1 < 1, name(), "expected 0 <= beta1 < 1, got {}",
                   options.beta1);
    check_argument(options.beta2 >= 0 && options.beta2 < 1, name(), "expected 0 <= beta2 < 1, got {}",
                   options.beta2);
    check_argument(options.epsilon > 0, name(), "expected epsilon > 0, got {}", options.epsilon);
  }

  const char* name() const override { return decay_ == WeightDecay::kDecoupled ? "adamw" : "adam"; }

 private:
  void apply(std::span<const kernels::OptimizerTensor> items, float learning_rate, int64_t update) override {
    kernels::AdamStep step;
    step.learning_rate = learning_rate;
    step.beta1 = options_.beta1;
    step.beta2 = options_.beta2;
    step.eps = options_.epsilon;
    step.step = update;
    step.decoupled = decay_ == WeightDecay::kDecoupled;
    kernels::adam_step(step, items);
  }

  AdamOptions options_;
  WeightDecay decay_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adam(std::vector<ParameterGroup> groups, const AdamOptions& options) {
  return std::make_unique<Adam>(std::move(groups), options, WeightDecay::kInGradient);
}

std::unique_ptr<Optimizer> make_adamw(std::vector<ParameterGroup> groups, const AdamOptions& options) {
  return std::make_unique<Adam>(std::move(groups), options, WeightDecay::kDecoupled);
}

}  // namespace fovea::optim
