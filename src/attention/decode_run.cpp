// A decoding call whose queries and keys are placed: parts of keys, worked on side by side, then merged.
#include <cmath>
#include <limits>

#include "attention/decode_call.hpp"
#include "attention/merge.hpp"
#include "attention/sequence.hpp"

namespace fovea {
namespace {

constexpr float kLn2 = 0.693147180559945309f;

// The parts of a row, in order, from the sink on; returns its lse.
float merge_parts(DecodeCall& call, int64_t n, int64_t head, int64_t i, float* out, Buffer<float>& part_out) {
  const Resolved& r = call.r;
  const int64_t rows = call.rows(n), row = head % r.group * call.queries(n) + i;
  float lse = r.sinks == nullptr ? -std::numeric_limits<float>::infinity() : r.sinks[head];
  std::fill_n(out, r.dv, 0.0f);
  const int64_t parts = decode_parts(call.key_count(n));
  for (int64_t p = 0; p < parts; ++p) {
    const float* state = call.part(n, head / r.group, p);
    const float sum = state[rows + row];
    if (sum == 0.0f) continue;
    const float* from = state + 2 * rows + row * call.value_width;
    for (int64_t c = 0; c < r.dv; ++c) part_out[static_cast<size_t>(c)] = from[c] / sum;
    merge_row(out, lse, part_out.data(), state[row] * kLn2 + std::log(sum), r.dv);
  }
  return lse;
}

}  // namespace

void run_decode(DecodeCall& call, HeadsView<float> out, float* lse, const Observers& observers,
                Insight* seen) {
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
    for (int64_t i = 0; i < call.queries(item.sequence); ++i) {
      const int64_t t = call.shapes.q_offsets.begin(item.sequence) + i;
      lse[t * r.heads + item.head] =
          merge_parts(call, item.sequence, item.head, i,
                      row_of(out, call.shapes.q_offsets, item.sequence, i, item.head), part_out);
    }
    if (observers.any()) observe_decoded(call, item.sequence, item.head, lse, observers, *seen);
  });
}

}  // namespace fovea
