// A decoding call whose queries and keys are placed: parts of keys, worked on side by side, then merged.
#include <cmath>

#include "attention/decode_call.hpp"
#include "attention/merge.hpp"
#include "attention/sequence.hpp"

namespace fovea {
namespace {

// The parts of a row, in order, from the sink on; returns what the softmax leaves of all.
SoftmaxRow merge_parts(DecodeCall& call, int64_t n, int64_t head, int64_t i, float* out,
                       Buffer<float>& part_out) {
  const Resolved& r = call.r;
  const int64_t rows = call.rows(n), row = head % r.group * call.queries(n) + i;
  SoftmaxRow whole;
  if (r.sinks != nullptr) whole.max = kernels::in_log2_units(r.sinks[head]);
  std::fill_n(out, r.dv, 0.0f);
  const int64_t parts = decode_parts(call.key_count(n));
  for (int64_t p = 0; p < parts; ++p) {
    const float* state = call.part(n, head / r.group, p);
    const float sum = state[rows + row];
    if (sum == 0.0f) continue;
    const float* from = state + 2 * rows + row * call.value_width;
    for (int64_t c = 0; c < r.dv; ++c) part_out[static_cast<size_t>(c)] = from[c] / sum;
    merge_row(out, whole, part_out.data(), {state[row], std::log2(sum)}, r.dv);
  }
  return whole;
}

}  // namespace

void run_decode(DecodeCall& call, HeadsView<float> out, const SoftmaxOutput& softmax,
                const Observers& observers, Insight* seen) {
  const Resolved& r = call.r;
  call.partial_begin = Buffer<int64_t>(static_cast<size_t>(r.sequences));
  call.scores_begin = Buffer<int64_t>(static_cast<size_t>(r.sequences));
  int64_t tasks = 0, partial = 0, scores = 0;
  for (int64_t n = 0; n < r.sequences; ++n) {
    const int64_t parts = decode_parts(call.key_count(n)) * r.kv_heads;
    call.partial_begin[static_cast<size_t>(n)] = partial;
    call.scores_begin[static_cast<size_t>(n)] = scores;
    tasks += parts;
    partial += parts * call.part_floats(n);
    scores += r.heads * call.queries(n) * call.key_count(n);
  }
  call.partial = Buffer<float>(static_cast<size_t>(partial));
  if (observers.any()) call.scores = Buffer<float>(static_cast<size_t>(scores));
  Plan plan(tasks);
  for (int64_t n = 0; n < r.sequences; ++n) {
    const int64_t keys = call.key_count(n), step = decode_part_length(keys);
    for (int64_t h = 0; h < r.kv_heads && call.rows(n) > 0; ++h) {
      for (int64_t begin = 0; begin < keys; begin += step) {
        const int64_t end = std::min(keys, begin + step);
        // Bound by memory: a key read counts as four multiply-adds a number, whatever the rows.
        plan.add({n, h, begin, end}, (end - begin) * (r.d + r.dv) * std::max<int64_t>(4, call.rows(n)));
      }
    }
  }
  plan.run([&](const Item& item) { run_decode_part(call, item); });

  Plan merges(r.sequences * r.heads);
  for (int64_t n = 0; n < r.sequences; ++n) {
    const int64_t looks = observers.any() ? call.key_count(n) * 16 : 0;
    for (int64_t h = 0; h < r.heads && call.queries(n) > 0; ++h) {
      const int64_t parts = decode_parts(call.key_count(n));
      merges.add({n, h, 0, 0}, call.queries(n) * (parts * (r.dv * 4 + 64) + looks));
    }
  }
  merges.run([&](const Item& item) {
    Buffer<float> part_out(static_cast<size_t>(r.dv));
    const int64_t queries = call.queries(item.sequence);
    Buffer<SoftmaxRow> rows(static_cast<size_t>(queries));
    for (int64_t i = 0; i < queries; ++i) {
      const int64_t at = (call.shapes.q_offsets.begin(item.sequence) + i) * r.heads + item.head;
      SoftmaxRow& row = rows[static_cast<size_t>(i)];
      row = merge_parts(call, item.sequence, item.head, i,
                        row_of(out, call.shapes.q_offsets, item.sequence, i, item.head), part_out);
      if (softmax.lse != nullptr) softmax.lse[at] = lse_of(row);
      if (softmax.rows != nullptr) softmax.rows[at] = row;
    }
    if (observers.any()) observe_decoded(call, item.sequence, item.head, rows.data(), observers, *seen);
  });
}

}  // namespace fovea
