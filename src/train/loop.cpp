#include "train/loop.hpp"

#include <chrono>
#include <cmath>
#include <limits>

#include "base/check.hpp"
#include "fovea/autograd/tape.hpp"
#include "fovea/formats/paths.hpp"
#include "fovea/optim/average.hpp"
#include "fovea/optim/gradient.hpp"
#include "train/journal.hpp"

namespace fovea::train {
namespace {

using Clock = std::chrono::steady_clock;

std::unique_ptr<optim::Optimizer> make_optimizer(const Settings& s, const nn::Parameters& parameters) {
  auto groups = optim::decay_groups(parameters, s.weight_decay);
  const optim::AdamOptions adam{static_cast<float>(s.beta1), static_cast<float>(s.beta2),
                                static_cast<float>(s.epsilon)};
  switch (s.optimizer) {
    case OptimizerKind::kAdam:
      return optim::make_adam(std::move(groups), adam);
    case OptimizerKind::kSgd:
      return optim::make_sgd(std::move(groups), {.momentum = static_cast<float>(s.momentum)});
    case OptimizerKind::kAdamW:
      break;
  }
  return optim::make_adamw(std::move(groups), adam);
}

class Loop {
 public:
  Loop(tasks::Task& task, const Settings& settings, const std::filesystem::path& folder,
       const TrainOptions& options)
      : task_(task),
        settings_(settings),
        folder_(folder),
        options_(options),
        parameters_(task.parameters()),
        optimizer_(make_optimizer(settings, parameters_)) {
    if (settings.average > 0) average_.emplace(parameters_, settings.average);
  }

  Progress run();

 private:
  TrainState state() { return {parameters_, optimizer_.get(), average_ ? &*average_ : nullptr}; }
  std::filesystem::path last() const { return folder_ / "checkpoint" / "last.safetensors"; }
  std::filesystem::path best() const { return folder_ / "checkpoint" / "best.safetensors"; }
  double seconds() const {
    return seconds_before_ + std::chrono::duration<double>(Clock::now() - started_).count();
  }
  void begin();
  void step(const optim::Schedule& schedule, Journal& journal);
  void stop_if_not_finite(double loss, double norm) const;
  void validate(Journal& journal);
  void checkpoint() {
    progress_.seconds = seconds();
    save_checkpoint(last(), state(), progress_);
  }
  void report(std::string_view message) const;

  tasks::Task& task_;
  const Settings& settings_;
  const std::filesystem::path& folder_;
  const TrainOptions& options_;
  nn::Parameters parameters_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  std::optional<optim::MovingAverage> average_;
  autograd::Tape tape_;
  Progress progress_;
  int64_t batches_ = 0;  // of the present epoch
  int64_t total_ = 0;
  double loss_ = std::numeric_limits<double>::quiet_NaN();
  double seconds_before_ = 0;
  Clock::time_point started_ = Clock::now();
};

void Loop::begin() {
  // The length of the run is counted on epoch 0, so that it is the same number however often it is resumed.
  batches_ = task_.start_epoch(0);
  check_data(batches_ > 0, "training data", "expected at least one batch, found none; check data.train");
  total_ = settings_.steps > 0
               ? settings_.steps
               : settings_.epochs * ((batches_ + settings_.accumulate - 1) / settings_.accumulate);
  if (options_.resume && formats::exists(last())) {
    progress_ = load_checkpoint(last(), state());
    seconds_before_ = progress_.seconds;
    if (progress_.epoch > 0) batches_ = task_.start_epoch(progress_.epoch);
  }
}

void Loop::report(std::string_view message) const {
  if (options_.progress != nullptr) {
    options_.progress->progress({"train", progress_.step, total_, progress_.tokens, loss_, message});
  }
}

void Loop::stop_if_not_finite(double loss, double norm) const {
  if (std::isfinite(loss) && std::isfinite(norm)) return;
  const auto largest = optim::largest_gradient(parameters_);
  throw DataError(
      fmt::format("step {}: expected a finite loss and gradient, found loss {} and gradient norm {}; the "
                  "largest gradient is {} in {}; "
                  "lower train.learning_rate, lengthen train.warm_up or lower train.clip",
                  progress_.step + 1, loss, norm, largest.magnitude,
                  largest.name.empty() ? "no parameter" : largest.name));
}

void Loop::step(const optim::Schedule& schedule, Journal& journal) {
  double loss = 0;
  for (int64_t micro = 0; micro < settings_.accumulate; ++micro) {
    if (progress_.batch >= batches_) {
      ++progress_.epoch;
      progress_.batch = 0;
      batches_ = task_.start_epoch(progress_.epoch);
    }
    auto context = nn::Context::training(settings_.seed, static_cast<uint64_t>(progress_.pass));
    autograd::Var value;
    int64_t tokens = 0;
    {
      const autograd::TapeScope scope(tape_);
      const autograd::PrecisionScope precision(settings_.precision);
      value = task_.loss(progress_.batch, context, tokens);
    }
    loss += static_cast<double>(value.value().data()[0]) / static_cast<double>(settings_.accumulate);
    tape_.backward(value, 1.0 / static_cast<double>(settings_.accumulate));
    ++progress_.batch;
    ++progress_.pass;
    progress_.tokens += tokens;
  }
  const double norm = settings_.clip > 0 ? optim::clip_gradient_norm(parameters_, settings_.clip)
                                         : optim::gradient_norm(parameters_);
  stop_if_not_finite(loss, norm);
  const double rate = schedule(progress_.step);
  optimizer_->step(rate);
  optimizer_->zero_grad();
  if (average_) average_->update();
  loss_ = loss;
  ++progress_.step;
  if (progress_.step % settings_.log_every == 0 || progress_.step == 1 || progress_.step == total_) {
    journal.step(progress_.step, progress_.epoch, loss, rate, norm, progress_.tokens, seconds());
  }
}

void Loop::validate(Journal& journal) {
  tasks::Evaluation result;
  {
    const optim::AveragedScope averaged(average_ ? &*average_ : nullptr);
    result = task_.evaluate(tasks::Split::kValid);
    const bool better = progress_.best_step < 0 || result.score > progress_.best_score;
    if (result.examples == 0 || !settings_.keep_best || better) {
      progress_.best_step = progress_.step;
      progress_.best_score = result.score;
      progress_.stale = 0;
      save_weights(best(), parameters_);
    } else {
      ++progress_.stale;
    }
  }
  if (result.examples == 0) return;
  journal.validation(progress_.step, result.figures);
  std::string message = "validation:";
  for (const auto& figure : result.figures) message += fmt::format(" {} {:.4f}", figure.name, figure.value);
  report(message);
}

Progress Loop::run() {
  begin();
  const auto warm_up = settings_.warm_up < 1 ? std::ceil(settings_.warm_up * static_cast<double>(total_))
                                             : std::min(settings_.warm_up, static_cast<double>(total_ - 1));
  optim::Schedule schedule{.kind = settings_.schedule,
                           .peak = settings_.learning_rate,
                           .warm_up_steps = std::min(static_cast<int64_t>(warm_up), total_ - 1),
                           .total_steps = total_,
                           .final_fraction = settings_.final_fraction};
  Journal journal(folder_ / "metrics.jsonl", progress_.step > 0 ? progress_.step : -1);
  const auto stopped = [&] { return settings_.patience > 0 && progress_.stale >= settings_.patience; };
  const PollsForStop polls(options_.progress);
  while (progress_.step < total_ && !stopped()) {
    step(schedule, journal);
    const bool last_step = progress_.step == total_;
    const bool epoch_ends = progress_.batch >= batches_;
    const bool validates =
        settings_.validate_every > 0 ? progress_.step % settings_.validate_every == 0 : epoch_ends;
    if (validates || last_step) validate(journal);
    if (validates || last_step ||
        (settings_.checkpoint_every > 0 && progress_.step % settings_.checkpoint_every == 0)) {
      checkpoint();
    }
    report({});
    if (!last_step && options_.progress != nullptr && options_.progress->stop_requested()) {
      checkpoint();
      throw Interrupted(fmt::format("stopped after step {} of {}; continue with --resume --out {}",
                                    progress_.step, total_, options_.out.string()));
    }
  }
  load_weights(best(), parameters_);
  progress_.seconds = seconds();
  return progress_;
}

}  // namespace

Progress run_loop(tasks::Task& task, const Settings& settings, const std::filesystem::path& folder,
                  const TrainOptions& options) {
  return Loop(task, settings, folder, options).run();
}

}  // namespace fovea::train
