// Training steps of whole models made of modules: a GPT of nanoGPT's shapes, and encoder, LSTM and GRU
// classifiers over ragged batches. Each must learn before it is timed. Then the processor time of each
// function's backward pass, and the time of a step.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "bench/clock.hpp"
#include "fovea/autograd/functions/losses.hpp"
#include "fovea/autograd/tape.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/nn/pooling.hpp"
#include "fovea/nn/recurrent.hpp"
#include "fovea/nn/transformer.hpp"
#include "fovea/optim/gradient.hpp"
#include "fovea/optim/optimizer.hpp"

namespace {

using namespace fovea;
using autograd::Var;
using bench::processor_seconds;

struct Batch {
  Tensor ids, targets;
  Offsets offsets;
};

enum class Body { kTransformer, kLstm, kGru };

struct ModelShape {
  const char* name;
  Body body;
  bool language_model;  // a target a token; else a class a sequence
  int64_t layers, heads, width, vocabulary;
  std::vector<int64_t> lengths;
};

class Model final : public nn::Module {
 public:
  explicit Model(const ModelShape& s) : shape_(s) {
    Random random(1);
    const bool transformer = s.body == Body::kTransformer;
    embedding_ =
        nn::TokenEmbedding({.vocabulary = s.vocabulary,
                            .width = s.width,
                            .positions = transformer ? nn::Positions::kLearned : nn::Positions::kNone,
                            .max_length = 256,
                            .deviation = transformer ? 0.02 : 0.5},
                           random);
    if (transformer) {
      stack_ = nn::Transformer(
          {.width = s.width, .layers = s.layers, .heads = s.heads, .causal = s.language_model}, random);
    } else {
      recurrent_ = nn::RecurrentStack(
          {.kind = s.body == Body::kLstm ? nn::RecurrentKind::kLstm : nn::RecurrentKind::kGru,
           .in = s.width,
           .hidden = s.width,
           .layers = s.layers},
          random);
    }
    head_ = nn::Linear(s.width, s.vocabulary, random);
  }
  void visit(nn::ModuleVisitor& visitor) override {
    visitor.child("embedding", embedding_);
    if (shape_.body == Body::kTransformer) {
      visitor.child("stack", stack_);
    } else {
      visitor.child("recurrent", recurrent_);
    }
    visitor.child("head", head_);
  }
  Var loss(const Batch& b) const {
    nn::Context context;
    Var x = embedding_.forward(context, b.ids, b.offsets);
    x = shape_.body == Body::kTransformer ? stack_.forward(context, x, b.offsets)
                                          : recurrent_.forward(context, x, b.offsets);
    if (!shape_.language_model) x = nn::Pooling().forward(context, x, b.offsets);
    return autograd::linear_cross_entropy(x, head_.weight, head_.bias, b.targets);
  }

 private:
  ModelShape shape_;
  nn::TokenEmbedding embedding_;
  nn::Transformer stack_;
  nn::RecurrentStack recurrent_;
  nn::Linear head_;
};

// What follows a token, or the class of a sequence, is a function of it: the task can be learnt.
Batch make_batch(const ModelShape& s, uint64_t seed) {
  Batch b{{}, {}, Offsets::from_lengths(s.lengths)};
  Random random(seed);
  b.ids = Tensor::empty({b.offsets.total()}, DType::kI32);
  for (int32_t& id : b.ids.span<int32_t>()) {
    id = static_cast<int32_t>(random.below(static_cast<uint64_t>(s.vocabulary)));
  }
  const auto next = [&](int32_t id) { return static_cast<int32_t>((id * 7 + 3) % s.vocabulary); };
  b.targets = Tensor::empty({s.language_model ? b.offsets.total() : b.offsets.count()}, DType::kI32);
  if (s.language_model) {
    for (int64_t t = 0; t < b.offsets.total(); ++t)
      b.targets.data<int32_t>()[t] = next(b.ids.data<int32_t>()[t]);
  } else {
    for (int64_t n = 0; n < b.offsets.count(); ++n) {
      b.targets.data<int32_t>()[n] = b.ids.data<int32_t>()[b.offsets.begin(n)] % 4;
    }
  }
  return b;
}

struct Trainer {
  explicit Trainer(const ModelShape& shape)
      : model(shape),
        optimizer(optim::make_adamw(optim::decay_groups(model.parameters(), 0.1), {.beta2 = 0.99F})) {}
  float step(const Batch& batch) {
    const autograd::TapeScope scope(tape);
    Var loss = model.loss(batch);
    const float value = loss.value().data()[0];
    tape.backward(loss);
    optim::clip_gradient_norm(optimizer->parameters(), 1.0);
    optimizer->step(2e-3);
    optimizer->zero_grad();
    return value;
  }
  Model model;
  std::unique_ptr<optim::Optimizer> optimizer;
  autograd::Tape tape;
};

const std::vector<ModelShape>& shapes() {
  static const std::vector<ModelShape> all = [] {
    std::vector<int64_t> ragged;  // 8 … 256, as texts are: many short, few long
    for (int64_t i = 0; i < 32; ++i) ragged.push_back(8 + 248 * i * i / (31 * 31));
    const std::vector<int64_t> small(12, 64);
    const std::vector<int64_t> large(8, 256);
    return std::vector<ModelShape>{
        {"gpt_4x128", Body::kTransformer, true, 4, 4, 128, 65, small},
        {"gpt_6x384", Body::kTransformer, true, 6, 6, 384, 65, large},
        {"lstm_2x128", Body::kLstm, true, 2, 0, 128, 65, small},
        {"ragged_encoder_2x128", Body::kTransformer, false, 2, 4, 128, 1000, ragged},
        {"ragged_lstm_1x128", Body::kLstm, false, 1, 0, 128, 1000, ragged},
        {"ragged_gru_1x128", Body::kGru, false, 1, 0, 128, 1000, ragged}};
  }();
  return all;
}

bool learns(const ModelShape& shape) {
  Trainer trainer(shape);
  const Batch batch = make_batch(shape, 1);
  const float first = trainer.step(batch);
  float last = first;
  for (int i = 0; i < 10; ++i) last = trainer.step(batch);
  fmt::print("{:22} loss {:.3f} -> {:.3f} in 10 steps on one batch\n", shape.name, first, last);
  return last < 0.95F * first;
}

struct Profile final : autograd::TapeObserver {
  std::map<std::string, double> seconds;
  double start = 0;
  void before_backward(const char*) override { start = processor_seconds(); }
  void after_backward(const char* function) override { seconds[function] += processor_seconds() - start; }
};

void print_profile(const ModelShape& shape) {
  set_num_threads(1);
  Trainer trainer(shape);
  const Batch batch = make_batch(shape, 1);
  for (int i = 0; i < 3; ++i) trainer.step(batch);
  Profile profile;
  trainer.tape.set_observer(&profile);
  reset_peak_memory();
  constexpr int kSteps = 10;
  double forward = 0;
  double backward = 0;
  double update = 0;
  for (int i = 0; i < kSteps; ++i) {
    const autograd::TapeScope scope(trainer.tape);
    const double a = processor_seconds();
    Var loss = trainer.model.loss(batch);
    const double b = processor_seconds();
    trainer.tape.backward(loss);
    const double c = processor_seconds();
    optim::clip_gradient_norm(trainer.optimizer->parameters(), 1.0);
    trainer.optimizer->step(2e-3);
    trainer.optimizer->zero_grad();
    forward += b - a;
    backward += c - b;
    update += processor_seconds() - c;
  }
  fmt::print("\n{}, one thread, ms: forward {:.2f}, backward {:.2f}, update {:.2f}; peak {:.1f} MB\n",
             shape.name, forward / kSteps * 1e3, backward / kSteps * 1e3, update / kSteps * 1e3,
             static_cast<double>(memory_stats().peak_bytes_in_use) / 1e6);
  for (const auto& [name, seconds] : profile.seconds) {
    fmt::print("  backward of {:22} {:8.3f}\n", name, seconds / kSteps * 1e3);
  }
}

void training_step(benchmark::State& state, const ModelShape& shape) {
  set_num_threads(static_cast<int>(state.range(0)));
  Trainer trainer(shape);
  const Batch batch = make_batch(shape, 1);
  trainer.step(batch);
  for (auto _ : state) benchmark::DoNotOptimize(trainer.step(batch));
  state.counters["tokens/s"] = benchmark::Counter(static_cast<double>(batch.ids.numel()),
                                                  benchmark::Counter::kIsIterationInvariantRate);
}

}  // namespace

int main(int argc, char** argv) {
  for (const ModelShape& shape : shapes()) {
    if (!learns(shape)) {
      fmt::print("{} does not learn: nothing is timed\n", shape.name);
      return 1;
    }
  }
  for (const ModelShape& shape : shapes()) print_profile(shape);
  for (const ModelShape& shape : shapes()) {
    benchmark::RegisterBenchmark(shape.name, training_step, shape)
        ->Arg(1)
        ->Arg(2)
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
