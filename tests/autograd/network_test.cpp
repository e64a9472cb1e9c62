// Properties of a whole training step: no allocation once steady, equal bits for any number of threads, and
// memory that is given back as the walk goes.
#include <gtest/gtest.h>

#include <cstring>

#include "bench/autograd/gpt.hpp"
#include "fovea/autograd/functions/activation.hpp"
#include "fovea/autograd/functions/arithmetic.hpp"
#include "fovea/autograd/functions/dropout.hpp"
#include "fovea/autograd/functions/pooling.hpp"
#include "fovea/autograd/functions/rows.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"
#include "tests/autograd/registry.hpp"
#include "tests/support/malloc_count.hpp"

namespace fovea::autograd {
namespace {

struct NoTimer {
  template <class F>
  auto operator()(const char*, F&& f) const {
    return f();
  }
};
using Gpt = bench::Gpt<NoTimer>;

constexpr bench::GptShape kShape{2, 2, 32, 16, 5, 29};

struct Batch {
  Tensor ids, targets;
};

Batch make_batch(const bench::GptShape& s) {
  return {to_tensor(random_ids(s.batch * s.block, 0, s.vocabulary, 1), DType::kI32),
          to_tensor(random_ids(s.batch * s.block, 0, s.vocabulary, 2), DType::kI32)};
}

void step(Gpt& model, Tape& tape, const Batch& batch) {
  {
    const TapeScope scope(tape);
    tape.backward(model.loss(batch.ids, batch.targets));
  }
  model.update(1e-2f);
}

TEST(Network, SteadyStepAllocatesNothing) {
  Gpt model(kShape, {});
  const Batch batch = make_batch(kShape);
  Tape tape;
  for (int i = 0; i < 3; ++i) step(model, tape, batch);
  const int64_t pool = memory_stats().system_allocations;
  const int64_t heap = g_allocations.load();
  step(model, tape, batch);
  EXPECT_EQ(memory_stats().system_allocations - pool, 0);
#if FOVEA_COUNTS_MALLOC
  EXPECT_GT(heap, 0) << "the counter does not stand in the way of malloc";
  EXPECT_EQ(g_allocations.load() - heap, 0);
#else
  static_cast<void>(heap);
#endif
}

TEST(Network, TrainedWeightsHaveTheSameBitsForAnyThreads) {
  const Batch batch = make_batch(kShape);
  const int before = get_num_threads();
  std::vector<Tensor> first;
  for (const int threads : {1, 2, 3, 8}) {
    set_num_threads(threads);
    Gpt model(kShape, {});
    Tape tape;
    for (int i = 0; i < 50; ++i) step(model, tape, batch);
    size_t i = 0;
    for (const Var* p : model.parameters()) {
      if (threads == 1) {
        first.push_back(p->value());
      } else {
        EXPECT_EQ(std::memcmp(p->value().raw(), first[i].raw(), static_cast<size_t>(p->value().nbytes())), 0)
            << threads << " threads, parameter " << i;
      }
      ++i;
    }
  }
  set_num_threads(before);
}

// What a step holds at the most is what the forward pass keeps and a few gradients, not a gradient for every
// value.
TEST(Network, BackwardGivesMemoryBack) {
  const bench::GptShape shape{8, 2, 64, 64, 8, 29};
  Gpt model(shape, {});
  const Batch batch = make_batch(shape);
  Tape tape;
  for (int i = 0; i < 2; ++i) step(model, tape, batch);
  const int64_t before = memory_stats().bytes_in_use;
  int64_t kept = 0;
  reset_peak_memory();
  {
    const TapeScope scope(tape);
    const Var loss = model.loss(batch.ids, batch.targets);
    kept = memory_stats().bytes_in_use - before;
    tape.backward(loss);
  }
  const int64_t peak = memory_stats().peak_bytes_in_use - before;
  EXPECT_LT(static_cast<double>(peak), 1.25 * static_cast<double>(kept));
  for (Var* p : model.parameters()) p->clear_grad();
  EXPECT_EQ(memory_stats().bytes_in_use, before);
  // A block keeps 10 widths a token (two sums, qkv, attention, GELU's input): norms are made again, and
  // GELU's output. Each value and its gradient would be twice 16, and the outputs of three projections more.
  const double everything =
      2.0 * 19.0 * static_cast<double>(shape.layers * shape.batch * shape.block * shape.width) * 4.0;
  EXPECT_LT(static_cast<double>(peak), 0.4 * everything);
}

TEST(Network, DropoutAndEveryReusedPathStayEqualAcrossThreads) {
  const Offsets offsets = awkward_offsets(200);
  const auto run = [&](int threads) {
    set_num_threads(threads);
    const Var x = Var::parameter(to_tensor(random_array({200, 32}, 1)));
    const Var w = Var::parameter(to_tensor(random_array({64, 32}, 2)));
    Tape tape;
    const TapeScope scope(tape);
    Var h = dropout(linear(x, w), 0.3f, {1, 1});
    h = glu(h, Activation::kSilu);
    h = dropout_add(h, scale(x, 0.5f), 0.1f, {1, 2});
    tape.backward(mean(multiply(mean_pool(h, offsets), max_pool(h, offsets))));
    Tensor both = Tensor::empty({2, 200 * 32});
    std::memcpy(both.data(), x.grad().data(), 200 * 32 * sizeof(float));
    std::memcpy(both.data() + 200 * 32, w.grad().data(), 64 * 32 * sizeof(float));
    std::memset(both.data() + 200 * 32 + 64 * 32, 0, (200 - 64) * 32 * sizeof(float));
    return both;
  };
  const int before = get_num_threads();
  const Tensor one = run(1);
  for (const int threads : {2, 3, 8}) {
    EXPECT_EQ(std::memcmp(run(threads).raw(), one.raw(), static_cast<size_t>(one.nbytes())), 0) << threads;
  }
  set_num_threads(before);
}

}  // namespace
}  // namespace fovea::autograd
