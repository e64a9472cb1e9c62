// One training step of a GPT on the autograd functions: first that it learns and that its gradient is right,
// then the time of each function by name, then the whole step.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>

#include "bench/autograd/gpt.hpp"
#include "bench/clock.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"

namespace {

using namespace fovea;
using autograd::Var;
using bench::processor_seconds;

struct Profile final : autograd::TapeObserver {
  std::map<std::string, std::pair<double, double>> seconds;  // forward, backward
  double start = 0;
  void before_backward(const char*) override { start = processor_seconds(); }
  void after_backward(const char* function) override {
    seconds[function].second += processor_seconds() - start;
  }
};

struct Timer {
  Profile* profile = nullptr;
  template <class F>
  auto operator()(const char* name, F&& f) const {
    if (profile == nullptr) return f();
    const double start = processor_seconds();
    auto y = f();
    profile->seconds[name].first += processor_seconds() - start;
    return y;
  }
};

struct Batch {
  Tensor ids, targets;
};

// Each token's successor is a function of it, so the task can be learnt.
Batch make_batch(const bench::GptShape& s, uint64_t seed) {
  Random random(seed);
  const int64_t n = s.batch * s.block;
  Batch b{Tensor::empty({n}, DType::kI32), Tensor::empty({n}, DType::kI32)};
  for (int64_t t = 0; t < n; ++t) {
    const auto id = static_cast<int32_t>(random.below(static_cast<uint64_t>(s.vocabulary)));
    b.ids.data<int32_t>()[t] = id;
    b.targets.data<int32_t>()[t] = static_cast<int32_t>((id * 7 + 3) % s.vocabulary);
  }
  return b;
}

constexpr bench::GptShape kSmall{4, 4, 128, 64, 12, 65};
constexpr bench::GptShape kLarge{6, 6, 384, 256, 8, 65};

using Model = bench::Gpt<Timer>;

float step(Model& model, autograd::Tape& tape, const Batch& batch) {
  float value;
  {
    const autograd::TapeScope scope(tape);
    const Var loss = model.loss(batch.ids, batch.targets);
    value = loss.value().data()[0];
    tape.backward(loss);
  }
  model.update(1e-3f);
  return value;
}

bool learns() {
  Model model(kSmall, {});
  autograd::Tape tape;
  float first = 0;
  float last = 0;
  for (int i = 0; i < 60; ++i) {
    last = step(model, tape, make_batch(kSmall, static_cast<uint64_t>(i)));
    if (i == 0) first = last;
  }
  fmt::print("loss {:.3f} -> {:.3f} in 60 steps (ln 65 = 4.174)\n", first, last);
  return first > 4.0f && first < 4.4f && last < 2.5f;
}

void print_profile(const char* name, const bench::GptShape& shape) {
  const int threads = get_num_threads();
  set_num_threads(1);
  Profile profile;
  Model model(shape, Timer{&profile});
  autograd::Tape tape;
  tape.set_observer(&profile);
  const Batch batch = make_batch(shape, 1);
  for (int i = 0; i < 5; ++i) step(model, tape, batch);
  profile.seconds.clear();
  reset_peak_memory();
  constexpr int kSteps = 20;
  double update = 0;
  const double start = processor_seconds();
  for (int i = 0; i < kSteps; ++i) {
    {
      const autograd::TapeScope scope(tape);
      tape.backward(model.loss(batch.ids, batch.targets));
    }
    const double before = processor_seconds();
    model.update(1e-3f);
    update += processor_seconds() - before;
  }
  const double total = processor_seconds() - start;
  fmt::print("\n{}: {:.2f} ms of one processor a step, peak {:.1f} MB of pool\n", name, total / kSteps * 1e3,
             static_cast<double>(memory_stats().peak_bytes_in_use) / 1e6);
  fmt::print("  {:24} {:>9} {:>9}\n", "function", "forward", "backward");
  double known = update;
  for (const auto& [function, s] : profile.seconds) {
    fmt::print("  {:24} {:9.3f} {:9.3f}\n", function, s.first / kSteps * 1e3, s.second / kSteps * 1e3);
    known += s.first + s.second;
  }
  fmt::print("  {:24} {:9.3f}\n  {:24} {:9.3f}\n", "clip + adamw", update / kSteps * 1e3, "rest",
             (total - known) / kSteps * 1e3);
  set_num_threads(threads);
}

void gpt_step(benchmark::State& state, const bench::GptShape& shape) {
  set_num_threads(static_cast<int>(state.range(0)));
  Model model(shape, {});
  autograd::Tape tape;
  const Batch batch = make_batch(shape, 1);
  step(model, tape, batch);
  for (auto _ : state) benchmark::DoNotOptimize(step(model, tape, batch));
  state.counters["tokens/s"] = benchmark::Counter(static_cast<double>(batch.ids.numel()),
                                                  benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK_CAPTURE(gpt_step, gpt_4x128, kSmall)->Arg(1)->Arg(2)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(gpt_step, gpt_6x384, kLarge)->Arg(1)->Arg(2)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace

int main(int argc, char** argv) {
  if (!learns()) {
    fmt::print("the model does not learn: not timed\n");
    return 1;
  }
  print_profile("4 layers, 4 heads, 128 wide, 12 x 64 tokens", kSmall);
  print_profile("6 layers, 6 heads, 384 wide, 8 x 256 tokens", kLarge);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
