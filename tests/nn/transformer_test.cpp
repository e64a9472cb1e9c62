#include "fovea/nn/transformer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "fovea/attention/attention.hpp"
#include "fovea/autograd/functions/losses.hpp"
#include "fovea/autograd/functions/pooling.hpp"
#include "fovea/autograd/tape.hpp"
#include "fovea/base/error.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/nn/pooling.hpp"
#include "fovea/optim/gradient.hpp"
#include "fovea/optim/optimizer.hpp"

namespace fovea::nn {
namespace {

using autograd::RaggedVar;
using autograd::Tape;
using autograd::TapeScope;
using autograd::Var;

Tensor random_tensor(const Shape& shape, uint64_t seed) {
  Random random(seed);
  return uniform_tensor(shape, random, 1.0);
}

// Every kind of option at least once.
std::vector<std::pair<std::string, TransformerOptions>> variants() {
  std::vector<std::pair<std::string, TransformerOptions>> all;
  const auto add = [&](const char* name, const std::function<void(TransformerOptions&)>& change) {
    TransformerOptions o{.width = 12, .layers = 2, .heads = 2, .causal = true};
    change(o);
    all.emplace_back(name, o);
  };
  add("plain", [](auto&) {});
  add("post-norm, relu", [](auto& o) {
    o.order = NormOrder::kPost;
    o.feed_forward = FeedForwardKind::kRelu;
  });
  add("rotary, grouped, swiglu, rms, no bias", [](auto& o) {
    o.positions = Positions::kRotary;
    o.heads = 4;
    o.key_heads = 2;
    o.head_width = 4;
    o.feed_forward = FeedForwardKind::kSwiGlu;
    o.norm = NormKind::kRms;
    o.bias = false;
  });
  add("alibi, window", [](auto& o) {
    o.positions = Positions::kAlibi;
    o.spec.window_left = 3;
  });
  add("relative, geglu", [](auto& o) {
    o.positions = Positions::kRelative;
    o.feed_forward = FeedForwardKind::kGeGlu;
  });
  add("normalised heads, sinks, wide values", [](auto& o) {
    o.query_key_norm = NormKind::kLayer;
    o.sinks = true;
    o.value_width = 7;
    o.feed_forward = FeedForwardKind::kGeluTanh;
  });
  add("cosine, soft cap", [](auto& o) {
    o.spec.score = Score::kCosine;
    o.spec.scale = 5.0F;
    o.spec.softcap = 3.0F;
  });
  return all;
}

// Parameters that begin at 0 or 1 are moved, so that every path carries a gradient.
void disturb(Module& module, uint64_t seed) {
  Random random(seed);
  for (Parameter& p : module.parameters()) {
    for (float& v : p.var.value().span()) v += 0.3F * (random.uniform() - 0.5F);
  }
}

double loss_of(const Var& y) {
  double s = 0;
  for (int64_t i = 0; i < y.numel(); ++i) {
    s += static_cast<double>(y.value().data()[i]) * std::cos(static_cast<double>(i));
  }
  return s;
}

Tensor loss_gradient(const Shape& shape) {
  Tensor dy = Tensor::empty(shape);
  for (int64_t i = 0; i < dy.numel(); ++i)
    dy.data()[i] = static_cast<float>(std::cos(static_cast<double>(i)));
  return dy;
}

// The gradient along a random direction through each parameter against central differences of the float32
// forward pass, with step h an element, 1e-2 along the whole direction. A loss of some hundred outputs near 1
// errs by about 2e-5, so a difference by 2e-5/h; the sum of many elements' gradients, each within 2^-24 of
// partial sums a hundred times larger, and what Richardson's step leaves of the third derivative, by less
// than 2e-3 of the gradient's length.
void expect_gradient(Module& module, const std::function<Var()>& forward, const std::string& label) {
  Parameters parameters = module.parameters();
  for (Parameter& p : parameters) p.var.clear_grad();
  Tape tape;
  {
    const TapeScope scope(tape);
    const Var y = forward();
    tape.backward_from(y, loss_gradient(y.shape()));
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    Parameter& p = parameters[i];
    ASSERT_TRUE(p.var.grad().defined()) << label << ": no gradient reached " << p.name;
    const Tensor before = p.var.value().clone();
    Random random(i);
    std::vector<float> direction(static_cast<size_t>(p.var.numel()));
    double slope = 0;
    double length = 0;
    for (size_t j = 0; j < direction.size(); ++j) {
      direction[j] = random.uniform() < 0.5F ? 1.0F : -1.0F;
      slope += static_cast<double>(direction[j]) * static_cast<double>(p.var.grad().data()[j]);
      length += std::pow(static_cast<double>(p.var.grad().data()[j]), 2);
    }
    const double h = 1e-2 / std::sqrt(static_cast<double>(direction.size()));
    const auto at = [&](double step) {
      for (size_t j = 0; j < direction.size(); ++j) {
        p.var.value().data()[j] = before.data()[j] + static_cast<float>(step) * direction[j];
      }
      return loss_of(forward());
    };
    // Richardson's combination of two steps: the error falls from h² to h⁴.
    const double wide = (at(2 * h) - at(-2 * h)) / (4 * h);
    const double narrow = (at(h) - at(-h)) / (2 * h);
    p.var.value().copy_from(before);
    const double difference = (4 * narrow - wide) / 3;
    const double noise = 2e-5 / h;
    EXPECT_NEAR(slope, difference, noise + 2e-3 * std::sqrt(length)) << label << ": " << p.name;
  }
}

TEST(Transformer, GradientReachesEveryParameter) {
  const Offsets offsets({0, 5, 5, 6, 13});
  const Offsets memory_offsets({0, 3, 4, 4, 9});  // a sequence without a memory too
  for (auto [label, options] : variants()) {
    // Differences that step over a kink of ReLU say nothing; its own derivative is tested with the operation.
    if (options.feed_forward == FeedForwardKind::kRelu) options.feed_forward = FeedForwardKind::kGelu;
    for (const bool cross : {false, true}) {
      if (cross) options.memory_width = 6;
      Random random(5);
      Transformer stack(options, random);
      disturb(stack, 6);
      const Var x = random_tensor({13, options.width}, 7);
      const RaggedVar memory{random_tensor({9, 6}, 8), memory_offsets};
      expect_gradient(
          stack,
          [&] {
            Context context;
            return stack.forward(context, x, offsets, cross ? &memory : nullptr);
          },
          label + (cross ? " with cross-attention" : ""));
    }
  }
}

TEST(Transformer, GradientWithEveryDropout) {
  TransformerOptions o{.width = 12, .layers = 2, .heads = 2};
  o.attention_dropout = o.residual_dropout = o.feed_forward_dropout = 0.2F;
  o.stochastic_depth = 0.5F;
  Random random(5);
  Transformer stack(o, random);
  disturb(stack, 6);
  const Var x = random_tensor({40, 12}, 7);
  const Offsets offsets = Offsets::uniform(8, 5);
  expect_gradient(
      stack,
      [&] {
        Context context = Context::training(1, 2);
        return stack.forward(context, x, offsets);
      },
      "dropout");
  // Dropout acts, and only while training.
  Context train = Context::training(1, 2);
  Context other = Context::training(1, 3);
  Context still;
  const double a = loss_of(stack.forward(train, x, offsets));
  EXPECT_NE(a, loss_of(stack.forward(other, x, offsets)));
  EXPECT_NE(a, loss_of(stack.forward(still, x, offsets)));
}

TEST(Transformer, PackedEqualsOneByOne) {
  const Offsets offsets({0, 1, 8, 8, 25, 64});
  for (const auto& [label, options] : variants()) {
    Random random(5);
    const Transformer stack(options, random);
    const Tensor x = random_tensor({64, options.width}, 7);
    Context context;
    const Tensor packed = stack.forward(context, x, offsets).value();
    for (int64_t n = 0; n < offsets.count(); ++n) {
      if (offsets.length(n) == 0) continue;
      const Tensor alone =
          stack.forward(context, x.rows(offsets.begin(n), offsets.end(n)), Offsets::single(offsets.length(n)))
              .value();
      const float* want = packed.data() + offsets.begin(n) * options.width;
      // Products of other sizes may sum in another order: some 2^-24 of values near 1, through two layers.
      for (int64_t i = 0; i < alone.numel(); ++i)
        ASSERT_NEAR(alone.data()[i], want[i], 2e-5) << label << " at " << i;
    }
  }
}

TEST(Transformer, CacheEqualsRecomputation) {
  const Offsets whole({0, 6, 15});
  for (auto [label, options] : variants()) {
    for (const bool cross : {false, true}) {
      if (cross) options.memory_width = 6;
      Random random(5);
      Transformer stack(options, random);
      disturb(stack, 6);
      const Tensor x = random_tensor({15, options.width}, 7);
      const RaggedVar memory{random_tensor({9, 6}, 8), Offsets({0, 4, 9})};
      const RaggedVar* given = cross ? &memory : nullptr;
      Context context;
      const Tensor want = stack.forward(context, x, whole, given).value();
      TransformerCache cache(2);
      // A prompt of 4 and 2 tokens, then tokens one by one, at last the second sequence alone.
      std::vector<int64_t> at{0, 6};
      for (const auto& [a, b] : {std::pair<int64_t, int64_t>{4, 2}, {1, 1}, {0, 3}, {1, 2}, {0, 1}}) {
        Tensor next = Tensor::empty({a + b, options.width});
        next.rows(0, a).copy_from(x.rows(at[0], at[0] + a));
        next.rows(a, a + b).copy_from(x.rows(at[1], at[1] + b));
        const Tensor got = stack.forward(context, next, Offsets({0, a, a + b}), given, &cache).value();
        for (int64_t i = 0; i < (a + b) * options.width; ++i) {
          const int64_t row = i / options.width;
          const int64_t source = row < a ? at[0] + row : at[1] + row - a;
          ASSERT_NEAR(got.data()[i], want.data()[source * options.width + i % options.width], 2e-5)
              << label << (cross ? " with cross-attention" : "") << " at token " << source;
        }
        at[0] += a;
        at[1] += b;
      }
      EXPECT_THAT(cache.lengths(), ::testing::ElementsAre(6, 9));
    }
  }
}

TEST(EncoderDecoder, GradientReachesEveryParameter) {
  Random random(5);
  EncoderDecoder model({.width = 8, .layers = 1, .heads = 2}, {.width = 12, .layers = 1, .heads = 3}, random);
  disturb(model, 6);
  const Var source = random_tensor({7, 8}, 1);
  const Var target = random_tensor({9, 12}, 2);
  expect_gradient(
      model,
      [&] {
        Context context;
        const RaggedVar memory = model.encode(context, source, Offsets({0, 3, 7}));
        return model.decode(context, target, Offsets({0, 4, 9}), memory);
      },
      "encoder-decoder");
}

// A small text classifier: embedding, two layers with dropout, attention pooling, a head.
class Classifier final : public Module {
 public:
  explicit Classifier(uint64_t seed) {
    Random random(seed);
    embedding = TokenEmbedding(
        {.vocabulary = 50, .width = 32, .max_length = 64, .token_dropout = 0.1F, .dropout = 0.1F}, random);
    TransformerOptions o{.width = 32, .layers = 2, .heads = 4};
    o.attention_dropout = o.residual_dropout = 0.1F;
    o.stochastic_depth = 0.1F;
    stack = Transformer(o, random);
    pooling = Pooling(PoolingKind::kAttention, 32, random);
    head = Linear(32, 5, random);
  }
  void visit(ModuleVisitor& visitor) override {
    visitor.child("embedding", embedding);
    visitor.child("stack", stack);
    visitor.child("pooling", pooling);
    visitor.child("head", head);
  }
  Var forward(Context& context, const Tensor& ids, const Offsets& offsets) const {
    const Var x = stack.forward(context, embedding.forward(context, ids, offsets), offsets);
    return head.forward(pooling.forward(context, x, offsets));
  }
  TokenEmbedding embedding;
  Transformer stack;
  Pooling pooling;
  Linear head;
};

struct Batch {
  Tensor ids, targets;
  Offsets offsets;
};
Batch batch(uint64_t seed) {
  const std::vector<int64_t> lengths{17, 3, 64, 1, 40, 9, 33, 20};
  Batch b{{}, Tensor::empty({8}, DType::kI32), Offsets::from_lengths(lengths)};
  b.ids = Tensor::empty({b.offsets.total()}, DType::kI32);
  Random random(seed);
  for (int32_t& id : b.ids.span<int32_t>()) id = static_cast<int32_t>(random.below(50));
  for (int32_t& t : b.targets.span<int32_t>()) t = static_cast<int32_t>(random.below(5));
  return b;
}

TEST(Training, FiftyStepsHaveTheSameBitsForAnyNumberOfThreads) {
  const int before = get_num_threads();
  std::vector<std::vector<float>> first;
  for (const int threads : {1, 2, 3, 8}) {
    set_num_threads(threads);
    Classifier model(11);
    auto optimizer = optim::make_adamw(optim::decay_groups(model.parameters(), 0.01));
    Tape tape;
    const Batch b = batch(3);
    float start = 0;
    float end = 0;
    for (uint64_t step = 0; step < 50; ++step) {
      Context context = Context::training(9, step);
      const TapeScope scope(tape);
      const Var loss = autograd::cross_entropy(model.forward(context, b.ids, b.offsets), b.targets);
      tape.backward(loss);
      optim::clip_gradient_norm(optimizer->parameters(), 1.0);
      optimizer->step(3e-3);
      optimizer->zero_grad();
      end = loss.value().data()[0];
      if (step == 0) start = end;
    }
    EXPECT_LT(end, 0.5F * start);  // it learns, too
    std::vector<std::vector<float>> weights;
    for (const Parameter& p : model.parameters()) {
      weights.emplace_back(p.var.value().span().begin(), p.var.value().span().end());
    }
    if (first.empty()) first = weights;
    for (size_t i = 0; i < weights.size(); ++i) {
      EXPECT_EQ(std::memcmp(weights[i].data(), first[i].data(), weights[i].size() * sizeof(float)), 0)
          << threads << " threads change " << model.parameters()[i].name;
    }
  }
  set_num_threads(before);
}

TEST(Training, SteadyStepTakesNothingFromTheSystem) {
  Classifier model(11);
  auto optimizer = optim::make_adamw(optim::decay_groups(model.parameters(), 0.01));
  Tape tape;
  const Batch b = batch(3);
  int64_t allocations = 0;
  for (uint64_t step = 0; step < 6; ++step) {
    if (step == 3) allocations = memory_stats().system_allocations;
    Context context = Context::training(9, step);
    const TapeScope scope(tape);
    tape.backward(autograd::cross_entropy(model.forward(context, b.ids, b.offsets), b.targets));
    optimizer->step(1e-3);
    optimizer->zero_grad();
  }
  EXPECT_EQ(memory_stats().system_allocations, allocations);
}

class Recorder final : public AttentionSink {
 public:
  Observers wishes() const override { return observe::entropy | observe::top_k(2); }
  void attention(const AttentionRecord& record) override {
    names.push_back(record.name);
    const std::vector<int64_t> queries{4};
    const Ragged rows = attention_rows(record.call.inputs, record.call.spec, queries);
    double sum = 0;
    for (int64_t k = 0; k < rows.tokens.dim(0); ++k) sum += static_cast<double>(rows.tokens.data()[k * 4]);
    EXPECT_NEAR(sum, 1.0, 1e-5);
    EXPECT_EQ(record.seen.top_k_keys.shape(), (Shape{record.call.inputs.q.dim(0), 4, 2}));
  }
  void pooling(const PoolingRecord& record) override {
    double sum = 0;
    for (int64_t t = 0; t < record.offsets.end(0); ++t) sum += static_cast<double>(record.weights.data()[t]);
    EXPECT_NEAR(sum, 1.0, 1e-5);
    pooled = true;
  }
  std::vector<std::string> names;
  bool pooled = false;
};

TEST(Observation, SeesEveryLayerAndChangesNoBit) {
  const Classifier model(11);
  const Batch b = batch(3);
  Context plain;
  const Tensor want = model.forward(plain, b.ids, b.offsets).value();
  Recorder recorder;
  Context watched(&recorder);
  const Tensor got = model.forward(watched, b.ids, b.offsets).value();
  EXPECT_EQ(std::memcmp(got.raw(), want.raw(), static_cast<size_t>(want.nbytes())), 0);
  EXPECT_THAT(recorder.names, ::testing::ElementsAre("layers.0.attention", "layers.1.attention"));
  EXPECT_TRUE(recorder.pooled);
}

TEST(Transformer, MisuseIsNamed) {
  Random random(1);
  const auto message = [&](const std::function<void()>& call) -> std::string {
    try {
      call();
    } catch (const ArgumentError& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(message([&] { Transformer({.width = 10, .heads = 4}, random); }),
            "[multi_head_attention] expected heads that divide the width (or a head width), got width 10 and "
            "4 heads");
  const Transformer encoder({.width = 8, .heads = 2}, random);
  Context context;
  TransformerCache cache(1);
  const Var x = Tensor::zeros({3, 8});
  EXPECT_EQ(message([&] { encoder.forward(context, x, Offsets::single(3), nullptr, &cache); }),
            "[transformer] expected a causal stack for a cache: others look ahead");
  const RaggedVar memory{x, Offsets::single(3)};
  EXPECT_EQ(message([&] { encoder.forward(context, x, Offsets::single(3), &memory); }),
            "[transformer] expected a memory for a decoder with cross-attention and only there, got one");
  const TokenEmbedding embedding({.vocabulary = 5, .width = 4, .max_length = 2}, random);
  EXPECT_EQ(message([&] { embedding.forward(context, Tensor::zeros({3}, DType::kI32), Offsets::single(3)); }),
            "[positions] expected sequences of at most 2 tokens, got 3");
}

}  // namespace
}  // namespace fovea::nn
