#include "attention/fused.hpp"

#include "attention/saved_rows.hpp"
#include "attention/schedule.hpp"
#include "attention/sequence.hpp"

namespace fovea {

void fused_forward(const AttentionInputs& in, const Resolved& r, HeadsView<float> out, SoftmaxOutput softmax,
                   const Observers& observers, Insight* seen) {
  const OwnRows own(softmax, observers.key_mass, in.q.dim(0) * r.heads);
  const kernels::AttentionKernels& kernel = kernels::attention_kernels();
  const Plan plan = plan_of_queries(in, r, kernel.query_chunk);
  const bool want_rows = observers.entropy || observers.max || observers.top_k > 0;
  int64_t sums_workspace = 0;
  if (observers.weights() && r.sequences > 0) {
    sums_workspace =
        kernel.forward_sums_workspace(sums_of(in, observers, *seen, 0, 0), in.k_offsets.max_length());
  }
  Workspaces workspaces(
      kernel.forward_workspace(r.d, r.dv, std::min(observers.top_k, in.k_offsets.max_length())) +
      sums_workspace);
  const bool far = lies_far(in, r);
  plan.run([&](const Item& item, const Item* next) {
    kernels::AttentionForwardTask task;
    task.head = head_of(in, r, item.sequence, item.head);
    kernels::AttentionHead next_head;
    if (far && next != nullptr) {
      next_head = head_of(in, r, next->sequence, next->head);
      task.next = &next_head;
      task.next_begin = next->begin;
      task.next_end = next->end;
    }
    task.q_begin = item.begin;
    task.q_end = item.end;
    const int64_t q0 = in.q_offsets.begin(item.sequence), row = q0 * r.heads + item.head;
    task.out = row_of(out, in.q_offsets, item.sequence, 0, item.head);
    task.out_stride = out.stride(0);
    task.lse = softmax.lse == nullptr ? nullptr : softmax.lse + row;
    task.softmax = softmax.rows == nullptr ? nullptr : softmax.rows + row;
    task.row_stride = r.heads;
    if (want_rows) task.statistics = statistics_of(observers, *seen, row);
    if (observers.weights()) task.sums = sums_of(in, observers, *seen, item.sequence, item.head);
    kernel.forward(task, workspaces.mine());
  });
  if (observers.key_mass) fused_second_pass(in, r, softmax.rows, observe::key_mass, *seen);
}

void fused_second_pass(const AttentionInputs& in, const Resolved& r, const SoftmaxRow* softmax,
                       const Observers& observers, Insight& seen) {
  const kernels::AttentionKernels& kernel = kernels::attention_kernels();
  if (r.sequences == 0) return;
  const int64_t sums_workspace =
      kernel.mass_sums_workspace(sums_of(in, observers, seen, 0, 0), in.k_offsets.max_length());
  Workspaces workspaces(kernel.mass_workspace(r.d) + sums_workspace);
  // A key's mass needs all queries, sums over a query's weights all keys: without these, keys are cut.
  constexpr int64_t kMassKeys = 1024;
  int64_t chunks = 0;
  for (int64_t n = 0; n < r.sequences; ++n) chunks += in.k_offsets.length(n) / kMassKeys + 1;
  Plan masses(chunks * r.heads);
  for (int64_t n = 0; n < r.sequences; ++n) {
    const int64_t lq = in.q_offsets.length(n), lk = in.k_offsets.length(n);
    for (int64_t h = 0; h < r.heads; ++h) {
      if (observers.weights()) {
        masses.add({n, h, 0, lk}, work_of(r, lq, lk) / 2);
        continue;
      }
      for (int64_t begin = 0; begin < lk; begin += kMassKeys) {
        const int64_t end = std::min(lk, begin + kMassKeys);
        masses.add({n, h, begin, end}, work_of(r, lq, end - begin) / 2);
      }
    }
  }
  masses.run([&](const Item& item) {
    kernels::AttentionMassTask task;
    task.head = head_of(in, r, item.sequence, item.head);
    task.softmax = softmax + in.q_offsets.begin(item.sequence) * r.heads + item.head;
    task.row_stride = r.heads;
    task.k_begin = item.begin;
    task.k_end = item.end;
    if (observers.weights()) task.sums = sums_of(in, observers, seen, item.sequence, item.head);
    if (observers.key_mass)
      task.mass = seen.key_mass.data() + in.k_offsets.begin(item.sequence) * r.heads + item.head;
    task.mass_stride = r.heads;
    kernel.mass(task, workspaces.mine());
  });
}

}  // namespace fovea
