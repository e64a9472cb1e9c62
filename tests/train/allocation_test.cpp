// What a whole step of the training loop asks the system for: batch, forward, backward, update, progress.
#include <gtest/gtest.h>

#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/train/train.hpp"
#include "tests/support/malloc_count.hpp"
#include "tests/train/support.hpp"

namespace fovea::train {
namespace {

constexpr int64_t kFrom = 80, kTo = 160;

struct Count final : ProgressSink {
  int64_t heap[2] = {};
  int64_t pool[2] = {};
  void progress(const ProgressEvent& event) override {
    if (event.done != kFrom && event.done != kTo) return;
    const int i = event.done == kTo ? 1 : 0;
    heap[i] = g_allocations.load();
    pool[i] = memory_stats().system_allocations;
  }
};

TEST(Allocations, AStepOfTheLoopMakesAFewSmallLists) {
  const int threads = get_num_threads();
  set_num_threads(1);
  for (const char* kind : {"attention", "lstm", "cnn"}) {
    const test::Folder folder;
    auto r = test::recipe(folder);
    r.set("model.kind", kind);
    r.set("train.steps", kTo + 1);  // the last one is validated and saved
    r.set("train.batch_tokens", int64_t{200});
    r.set("train.log_every", int64_t{1000});
    r.set("train.validate_every", int64_t{1000});
    Count count;
    train(r, {.out = folder.path() / "model", .progress = &count});
    EXPECT_EQ(count.pool[1], count.pool[0]) << kind << ": the pool grew";
#if FOVEA_COUNTS_MALLOC
    // A batch's rows, lengths and offsets, and once an epoch the order of the rows.
    const double a_step = static_cast<double>(count.heap[1] - count.heap[0]) / (kTo - kFrom);
    EXPECT_GT(a_step, 0) << "the counter does not stand in the way of malloc";
    EXPECT_LT(a_step, 10) << kind;
    RecordProperty(std::string("mallocs_a_step_") + kind, std::to_string(a_step));
#endif
  }
  set_num_threads(threads);
}

}  // namespace
}  // namespace fovea::train
