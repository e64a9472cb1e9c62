// Trains a small Transformer to read sequences backwards: position i of a sequence of n digits is to give
// digit n − 1 − i. Sequences of 3 to 8 digits lie packed one after another; no token is padding.
#include <algorithm>
#include <cstdio>
#include <fovea/fovea.hpp>
#include <vector>

using namespace fovea;

struct Reverser final : nn::Module {
  nn::TokenEmbedding embedding;
  nn::Transformer stack;
  nn::Linear head;

  explicit Reverser(Random& random)
      : embedding({.vocabulary = 10, .width = 64, .max_length = 16}, random),
        stack({.width = 64, .layers = 2, .heads = 4, .positions = nn::Positions::kRelative}, random),
        head(64, 10, random) {}
  void visit(nn::ModuleVisitor& visitor) override {  // names, saving and the optimiser follow from this list
    visitor.child("embedding", embedding);
    visitor.child("stack", stack);
    visitor.child("head", head);
  }
  autograd::Var forward(nn::Context& context, const Tensor& ids, const Offsets& offsets) const {
    return head.forward(stack.forward(context, embedding.forward(context, ids, offsets), offsets));
  }
};

struct Batch {
  Offsets offsets;      // sequence n holds tokens offsets.begin(n) to offsets.end(n)
  Tensor ids, targets;  // [T]
};

Batch draw(Random& random, int64_t sequences) {
  std::vector<int64_t> lengths(static_cast<size_t>(sequences));
  for (int64_t& length : lengths) length = 3 + static_cast<int64_t>(random.below(6));
  const Offsets offsets = Offsets::from_lengths(lengths);
  Tensor ids = Tensor::empty({offsets.total()}, DType::kI32), targets = ids.clone();
  for (int32_t& id : ids.span<int32_t>()) id = static_cast<int32_t>(random.below(10));
  for (int64_t n = 0; n < sequences; ++n) {
    for (int64_t i = 0; i < offsets.length(n); ++i)
      targets.data<int32_t>()[offsets.begin(n) + i] = ids.data<int32_t>()[offsets.end(n) - 1 - i];
  }
  return {offsets, ids, targets};
}

double accuracy(const Reverser& model, const Batch& batch) {
  nn::Context context;  // inference: no dropout, and nothing is recorded without a tape
  const Tensor logits = model.forward(context, batch.ids, batch.offsets).value();
  int64_t right = 0;
  for (int64_t t = 0; t < logits.dim(0); ++t) {
    const float* row = logits.data() + t * 10;
    right += std::max_element(row, row + 10) - row == batch.targets.data<int32_t>()[t];
  }
  return static_cast<double>(right) / static_cast<double>(logits.dim(0));
}

int main() {
  Random random(1);
  Reverser model(random);
  auto optimizer = optim::make_adamw(optim::decay_groups(model.parameters(), 0.01));
  const optim::Schedule rate{optim::ScheduleKind::kCosine, 3e-3, 20, 600};
  autograd::Tape tape;
  for (int64_t step = 0; step < 600; ++step) {
    const Batch batch = draw(random, 64);
    nn::Context context = nn::Context::training(1, static_cast<uint64_t>(step));
    const autograd::TapeScope recording(tape);
    const autograd::Var loss =
        autograd::cross_entropy(model.forward(context, batch.ids, batch.offsets), batch.targets);
    tape.backward(loss);
    optim::clip_gradient_norm(optimizer->parameters(), 1.0);
    optimizer->step(rate(step));
    optimizer->zero_grad();
    if (step % 100 == 99)
      std::printf("step %d  loss %.4f\n", static_cast<int>(step + 1),
                  static_cast<double>(loss.value().data()[0]));
  }
  Random unseen(2);
  std::printf("accuracy on unseen sequences: %.2f %%\n", 100 * accuracy(model, draw(unseen, 1000)));
}
