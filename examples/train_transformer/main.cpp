// Trains a small Transformer to read sequences backwards: position i of a sequence of n digits is to give
// digit n − 1 − i. Sequences of 3 to 8 digits lie packed one after another; no token is padding.
#include <algorithm>
#include <cstdio>
#include <fovea/fovea.hpp>
#include <vector>

using namespace fovea;

struct Batch {
  Offsets offsets;      // sequence n holds tokens offsets.begin(n) to offsets.end(n)
  Tensor ids, targets;  // [T]
};

Batch draw(Random& random, int64_t sequences) {
  std::vector<int64_t> lengths(static_cast<size_t>(sequences));
  for (int64_t& length : lengths) length = 3 + static_cast<int64_t>(random.below(6));
  const Offsets offsets = Offsets::from_lengths(lengths);
  Tensor ids = Tensor::empty({offsets.total()}, DType::kI32);
  for (int32_t& id : ids.span<int32_t>()) id = static_cast<int32_t>(random.below(10));
  Tensor targets = ids.clone();
  int32_t* digits = targets.data<int32_t>();
  for (int64_t n = 0; n < sequences; ++n) std::reverse(digits + offsets.begin(n), digits + offsets.end(n));
  return {offsets, ids, targets};
}

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
  autograd::Var forward(nn::Context& context, const Batch& batch) const {  // logits [T, 10]
    const autograd::Var tokens = embedding.forward(context, batch.ids, batch.offsets);
    return head.forward(stack.forward(context, tokens, batch.offsets));
  }
};

int main() {
  Random random(1), unseen(2);
  Reverser model(random);
  auto optimizer = optim::make_adamw(optim::decay_groups(model.parameters(), 0.01));
  const optim::Schedule rate{optim::ScheduleKind::kCosine, 3e-3, 20, 600};
  autograd::Tape tape;
  for (int step = 0; step < 600; ++step) {
    const Batch batch = draw(random, 64);
    nn::Context context = nn::Context::training(1, static_cast<uint64_t>(step));
    const autograd::TapeScope recording(tape);
    const autograd::Var loss = autograd::cross_entropy(model.forward(context, batch), batch.targets);
    tape.backward(loss);
    optim::clip_gradient_norm(optimizer->parameters(), 1.0);
    optimizer->step(rate(step));
    optimizer->zero_grad();
    if (step % 100 == 99) std::printf("step %d  loss %.4f\n", step + 1, double{loss.value().data()[0]});
  }
  const Batch test = draw(unseen, 1000);
  nn::Context inference;  // no dropout, and nothing is recorded without a tape
  const Tensor logits = model.forward(inference, test).value();
  const double right =
      metrics::accuracy(test.targets.span<int32_t>(), metrics::predicted_classes(logits.span(), 10));
  std::printf("accuracy on unseen sequences: %.2f %%\n", 100 * right);
}
