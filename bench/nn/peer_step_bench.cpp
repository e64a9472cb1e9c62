// One training step of a language model or a text encoder, end to end: forward, backward, clipping, AdamW.
// Usage: peer_step_bench [SHAPE [STEPS [THREADS [float32|bf16]]]]; prints one line of JSON a shape:
//   {"shape": …, "step_ms": […], "loss": …, "first_loss": …, "peak_bytes": …, "system_allocations": …}
// Shapes, token ids and lengths are those of tools/bench_peers/shapes.py, so that PyTorch trains the same.
// Before anything is timed the first loss must be that of a guess, ln(classes), and later ones must fall.
#include <fmt/format.h>
#include <sys/resource.h>

#include <unistd.h>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "fovea/autograd/functions/losses.hpp"
#include "fovea/autograd/functions/pooling.hpp"
#include "fovea/autograd/precision.hpp"
#include "fovea/autograd/tape.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/nn/linear.hpp"
#include "fovea/nn/positions.hpp"
#include "fovea/nn/transformer.hpp"
#include "fovea/optim/gradient.hpp"
#include "fovea/optim/optimizer.hpp"

namespace {

using namespace fovea;

struct StepShape {
  const char* name;
  int64_t layers, heads, width, block, batch, vocabulary, classes;  // classes 0: a language model
};

constexpr StepShape kShapes[] = {{"gpt-small", 4, 4, 128, 64, 12, 65, 0},
                                 {"gpt-medium", 6, 6, 384, 256, 8, 65, 0},
                                 {"ragged-encoder", 4, 4, 256, 256, 64, 8000, 20}};
constexpr int kWarmUp = 5;

std::vector<int64_t> lengths_of(const StepShape& shape) {
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < shape.batch; ++i) {
    lengths.push_back(shape.classes == 0 ? shape.block : 8 + (97 * i + 13) % (shape.block - 7));
  }
  return lengths;
}

class Network final : public nn::Module {
 public:
  Network(const StepShape& shape, Random& random)
      : embedding_({.vocabulary = shape.vocabulary, .width = shape.width, .max_length = shape.block}, random),
        body_({.width = shape.width,
               .layers = shape.layers,
               .heads = shape.heads,
               .causal = shape.classes == 0,
               .initialization = nn::Initialization::kNormal},
              random),
        classes_(shape.classes) {
    if (classes_ > 0)
      head_ = nn::Linear(shape.width, classes_, random, {.initialization = nn::Initialization::kNormal});
  }
  void visit(nn::ModuleVisitor& visitor) override {
    visitor.child("embedding", embedding_);
    visitor.child("body", body_);
    if (classes_ > 0) visitor.child("head", head_);
  }
  autograd::Var loss(nn::Context& context, const Tensor& ids, const Tensor& targets,
                     const Offsets& offsets) const {
    const autograd::Var x = body_.forward(context, embedding_.forward(context, ids, offsets), offsets);
    if (classes_ > 0) return autograd::cross_entropy(head_.forward(autograd::mean_pool(x, offsets)), targets);
    return autograd::linear_cross_entropy(x, embedding_.tokens.weight, {}, targets);
  }

 private:
  nn::TokenEmbedding embedding_;
  nn::Transformer body_;
  nn::Linear head_;
  int64_t classes_;
};

int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t size = 0, resident = 0;
  statm >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

int64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

int run(const StepShape& shape, int steps) {
  const int64_t before = resident_bytes();
  Random random(1);
  Network network(shape, random);
  auto optimizer = optim::make_adamw(optim::decay_groups(network.parameters(), 0.1), {.beta2 = 0.99F});

  const Offsets offsets = Offsets::from_lengths(lengths_of(shape));
  const int64_t tokens = offsets.total();
  Tensor ids = Tensor::empty({tokens}, DType::kI32);
  for (int64_t i = 0; i < tokens; ++i) {
    ids.span<int32_t>()[static_cast<size_t>(i)] =
        static_cast<int32_t>((i * 7919 + i / 13) % shape.vocabulary);
  }
  Tensor targets = Tensor::empty({shape.classes == 0 ? tokens : shape.batch}, DType::kI32);
  for (int64_t i = 0; i < targets.numel(); ++i) {
    // The next token of the sequence, its first one after the last, as roll() gives the peer.
    const int64_t row = shape.classes == 0 ? i / shape.block * shape.block + (i + 1) % shape.block : i;
    targets.span<int32_t>()[static_cast<size_t>(i)] = shape.classes == 0
                                                          ? ids.span<int32_t>()[static_cast<size_t>(row)]
                                                          : static_cast<int32_t>(i % shape.classes);
  }

  autograd::Tape tape;
  std::vector<double> milliseconds;
  double first_loss = 0, loss_value = 0;
  int64_t allocations = 0;
  for (int step = 0; step < kWarmUp + steps; ++step) {
    if (step == kWarmUp) allocations = memory_stats().system_allocations;
    const auto start = std::chrono::steady_clock::now();
    nn::Context context = nn::Context::training(1, static_cast<uint64_t>(step));
    autograd::Var loss;
    {
      const autograd::TapeScope scope(tape);
      loss = network.loss(context, ids, targets, offsets);
    }
    loss_value = static_cast<double>(loss.value().data()[0]);
    tape.backward(loss);
    optim::clip_gradient_norm(optimizer->parameters(), 1.0);
    optimizer->step(1e-3);
    optimizer->zero_grad();
    const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
    if (step == 0) first_loss = loss_value;
    if (step >= kWarmUp) milliseconds.push_back(elapsed.count());
  }

  const double guess = std::log(static_cast<double>(shape.classes == 0 ? shape.vocabulary : shape.classes));
  // Logits begin with a deviation well under one: the first loss is within a tenth of that of a guess.
  if (std::abs(first_loss - guess) > 0.1 * guess || !(loss_value < first_loss)) {
    fmt::print(stderr,
               "peer_step_bench: expected {} to begin near {:.3f} and fall, got {:.3f}, then {:.3f}\n",
               shape.name, guess, first_loss, loss_value);
    return 1;
  }
  fmt::print(
      "{{\"shape\": \"{}\", \"step_ms\": [{:.4f}], \"loss\": {:.5f}, \"first_loss\": {:.5f}, \"peak_bytes\": "
      "{}, "
      "\"tensor_peak_bytes\": {}, \"system_allocations\": {}}}\n",
      shape.name, fmt::join(milliseconds, ", "), loss_value, first_loss, peak_resident_bytes() - before,
      memory_stats().peak_bytes_in_use, memory_stats().system_allocations - allocations);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  const int steps = argc > 2 ? std::atoi(argv[2]) : 10;
  if (argc > 3) fovea::set_num_threads(std::atoi(argv[3]));
  const std::string precision = argc > 4 ? argv[4] : "float32";
  if (precision != "float32" && precision != "bf16") {
    fmt::print(stderr, "peer_step_bench: expected float32 or bf16, got {}\n", precision);
    return 2;
  }
  const fovea::autograd::PrecisionScope scope(precision == "bf16" ? fovea::autograd::Precision::kBFloat16
                                                                  : fovea::autograd::Precision::kFloat32);
  int result = 0;
  bool found = false;
  for (const StepShape& shape : kShapes) {
    if (!name.empty() && name != shape.name) continue;
    found = true;
    result |= run(shape, std::max(steps, 1));
  }
  if (!found)
    fmt::print(stderr, "peer_step_bench: expected gpt-small, gpt-medium or ragged-encoder, got {}\n", name);
  return found ? result : 2;
}
