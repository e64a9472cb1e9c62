#include "attention/bias_bands.hpp"

#include <algorithm>
#include <atomic>
#include <thread>

#include "attention/sequence.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea {
namespace {

// Where bands run side by side too, so that shares take at most three arrays as large as q and fourteen as k.
constexpr int64_t kMostChunks = 4;

int64_t parts_of(int64_t n, int64_t step) {
  return (n + step - 1) / step;
}

int64_t longest_of(const AttentionInputs& in, const Resolved& r, bool chunks) {
  int64_t longest = 1;
  for (int64_t n = 0; n < r.sequences; ++n) {
    const int64_t lq = in.q_offsets.length(n), lk = in.k_offsets.length(n);
    const BandCut cut = band_cut(lq, lk);
    longest = std::max(longest, chunks ? std::min(lk, cut.keys) : std::min(lq, cut.queries));
  }
  return longest;
}

// The queries of a band that may see keys [begin, end).
Rows rows_of_band(const Resolved& r, int64_t lq, int64_t lk, Rows band, int64_t begin, int64_t end) {
  const Rows seeing = rows_seeing(r, lq, lk, begin, end);
  const Rows both{std::max(seeing.first, band.first), std::min(seeing.end, band.end)};
  return both.first < both.end ? both : Rows{band.first, band.first};
}

// How many pairs of a query and a key causality and windows leave of rows and keys, about.
int64_t pairs_seen(const Resolved& r, int64_t lq, int64_t lk, Rows rows, int64_t begin, int64_t end) {
  int64_t pairs = 0;
  for (int64_t i = rows.first; i < rows.end; i += 64)
    pairs += 64 * std::max<int64_t>(0, std::min(end, r.end_key(i + 32, lq, lk)) -
                                           std::max(begin, r.first_key(i + 32, lq, lk)));
  return pairs;
}

}  // namespace

// What one task does: of a sequence one band, or all (−1), and some of its keys.
struct BiasBands::Task {
  int64_t sequence, band, k_begin, k_end, work;
  int64_t turn;  // tasks that add to the same elements before it
};

BiasBands::BiasBands(const AttentionInputs& in, const Resolved& r, const ScoresView<float>& dbias,
                     const HeadsView<float>& dq, const HeadsView<float>& dk, const HeadsView<float>& dv)
    : in_(in),
      r_(r),
      dbias_(dbias),
      dq_(dq),
      dk_(dk),
      dv_(dv),
      kernel_(kernels::attention_kernels()),
      in_turn_(dbias.stride(0) == 0 && r.sequences > 1),
      longest_chunk_(longest_of(in, r, true)),
      longest_band_(longest_of(in, r, false)),
      tiles_size_(kernel_.score_tiles_size(longest_band_, longest_chunk_)),
      bias_in_tiles_(lies_for_tiles(in.bias)),
      tiles_((bias_in_tiles_ ? 2 : 1) * tiles_size_) {
  int64_t chunks = 1, bands = 1;
  for (int64_t n = 0; n < r.sequences; ++n) {
    const int64_t lq = in.q_offsets.length(n), lk = in.k_offsets.length(n);
    const BandCut cut = band_cut(lq, lk);
    chunks = std::max(chunks, parts_of(lk, cut.keys));
    bands = std::max(bands, parts_of(lq, cut.queries));
  }
  // Shares cost memory and time: there are no more than threads need.
  if (chunks > 1 && !occupies_threads()) chunks_apart_ = true;
  if (bands > 1 && chunks <= kMostChunks && !occupies_threads()) bands_apart_ = true;
  const auto make = [](const HeadsView<float>& x, int64_t shares, int64_t rows) {
    return Buffer<float>(static_cast<size_t>(x.data == nullptr ? 0 : (shares - 1) * rows * x.dim(2)));
  };
  if (chunks_apart_) dq_shares_ = make(dq, chunks, in.q_offsets.total() * r.heads);
  if (bands_apart_) {
    dk_shares_ = make(dk, bands, in.k_offsets.total() * r.kv_heads);
    dv_shares_ = make(dv, bands, in.k_offsets.total() * r.kv_heads);
  }
}

// The tasks of the sequences [first, end): those with most to do first, or, if they add to the same elements,
// sequence by sequence.
Buffer<BiasBands::Task> BiasBands::tasks_of(int64_t first, int64_t end) const {
  const auto steps = [&](int64_t n) {
    const int64_t lq = in_.q_offsets.length(n), lk = in_.k_offsets.length(n);
    const BandCut cut = band_cut(lq, lk);
    return BandCut{bands_apart_ ? cut.queries : lq, chunks_apart_ ? cut.keys : lk};
  };
  size_t count = 0;
  for (int64_t n = first; n < end; ++n) {
    if (empty(n)) continue;
    const auto [queries, keys] = steps(n);
    count += static_cast<size_t>(parts_of(in_.k_offsets.length(n), keys) *
                                 parts_of(in_.q_offsets.length(n), queries));
  }
  Buffer<Task> tasks(count);
  count = 0;
  const auto sort = [&](size_t from) {
    std::sort(tasks.data() + from, tasks.data() + count,
              [](const Task& a, const Task& b) { return a.work > b.work; });
  };
  for (int64_t n = first; n < end; ++n) {
    if (empty(n)) continue;
    const size_t from = count;
    const int64_t lq = in_.q_offsets.length(n), lk = in_.k_offsets.length(n);
    const auto [queries, keys] = steps(n);
    for (int64_t begin = 0; begin < lk; begin += keys) {
      for (int64_t band = 0; band * queries < lq; ++band) {
        const int64_t until = std::min(lk, begin + keys);
        const Rows rows{band * queries, std::min(lq, (band + 1) * queries)};
        const int64_t work = r_.heads * pairs_seen(r_, lq, lk, rows, begin, until) * (r_.d + r_.dv) * 5 / 2;
        tasks[count++] = {n, bands_apart_ ? band : -1, begin, until, work, static_cast<int64_t>(from)};
      }
    }
    if (in_turn_) sort(from);
  }
  if (!in_turn_) sort(0);
  return tasks;
}

// Whether the tasks, as they are cut now, keep threads busy nine tenths of the time: all of them, or those of
// the sequence with most to do where sequences take turns.
bool BiasBands::occupies_threads() const {
  const auto threads = static_cast<size_t>(get_num_threads());
  int64_t first = 0, end = r_.sequences, most = -1;
  for (int64_t n = 0; in_turn_ && n < r_.sequences; ++n) {
    const int64_t pairs = in_.q_offsets.length(n) * in_.k_offsets.length(n);
    if (pairs > most) first = n, end = n + 1, most = pairs;
  }
  const Buffer<Task> tasks = tasks_of(first, end);
  Buffer<int64_t> busy(threads);
  std::fill_n(busy.data(), threads, 0);
  int64_t total = 0;
  for (size_t i = 0; i < tasks.size(); ++i) {  // each to the first who is free
    *std::min_element(busy.data(), busy.data() + threads) += tasks[i].work;
    total += tasks[i].work;
  }
  const int64_t longest = *std::max_element(busy.data(), busy.data() + threads);
  return total <= kWorthThreads || 10 * total >= 9 * longest * static_cast<int64_t>(threads);
}

void BiasBands::run(Body body) {
  const Buffer<Task> tasks = tasks_of(0, r_.sequences);
  int64_t work = 0;
  for (size_t i = 0; i < tasks.size(); ++i) work += tasks[i].work;
  // Tasks begin in order, so those that one waits for are under way; none ends before its turn.
  std::atomic<int64_t> done{0};
  parallel_tasks(static_cast<int64_t>(tasks.size()), work > kWorthThreads, [&](int64_t i) {
    const Task& task = tasks[static_cast<size_t>(i)];
    const auto wait_for_turn = [&] {
      while (in_turn_ && done.load(std::memory_order_acquire) < task.turn) std::this_thread::yield();
    };
    run_task(task, body, wait_for_turn);
    wait_for_turn();
    done.fetch_add(1, std::memory_order_release);
  });
  if (chunks_apart_ && dq_.data != nullptr) {
    add_shares(in_, r_, dq_shares_.data(), dq_,
               [&](int64_t n) { return band_cut(in_.q_offsets.length(n), in_.k_offsets.length(n)).keys; });
  }
  if (bands_apart_) {
    add_key_shares(dk_, dk_shares_);
    add_key_shares(dv_, dv_shares_);
  }
}

void BiasBands::run_task(const Task& task, Body body, FunctionRef<void()> wait_for_turn) {
  const int64_t n = task.sequence, lq = in_.q_offsets.length(n), lk = in_.k_offsets.length(n);
  const BandCut cut = band_cut(lq, lk);
  const int64_t chunk = cut.keys, band = cut.queries;
  const int64_t first = std::max<int64_t>(0, task.band), end = task.band < 0 ? parts_of(lq, band) : first + 1;
  const auto part_of = [&](int64_t begin, int64_t b) {
    const Rows rows{b * band, std::min(lq, (b + 1) * band)};
    BandPart part{n, 0, begin / chunk, b, begin, std::min(task.k_end, begin + chunk), rows, {}, {}, {}};
    part.rows = rows_of_band(r_, lq, lk, rows, begin, part.k_end);
    part.sums = {tiles_.mine(), rows.first, begin, rows.end - rows.first, part.k_end - begin};
    part.bias = part.sums;
    part.bias.memory = bias_in_tiles_ ? part.sums.memory + tiles_size_ : nullptr;
    return part;
  };
  for (int64_t begin = task.k_begin; begin < task.k_end; begin += chunk) {
    for (int64_t b = first; b < end; ++b) {
      BandPart part = part_of(begin, b);
      kernel_.begin_score_tiles(part.sums);
      if (bias_in_tiles_) kernel_.begin_score_tiles(part.bias);
      for (; part.kv_head < r_.kv_heads; ++part.kv_head) {
        BandPart next = part;
        if (++next.kv_head == r_.kv_heads && b + 1 < end) next = part_of(begin, b + 1);
        body(part, next.kv_head < r_.kv_heads ? &next : nullptr);
      }
      if (part.rows.first < part.rows.end) {
        wait_for_turn();
        kernel_.add_score_tiles(part.sums, 0, part.sums.queries, scores_of(dbias_, n, 0), dbias_.stride(2),
                                dbias_.stride(3));
      }
    }
  }
}

BiasBands::Keys BiasBands::place_keys(const BandPart& part) {
  if (!bands_apart_ || part.band == 0) {
    return {row_of(dk_, in_.k_offsets, part.sequence, part.k_begin, part.kv_head),
            row_of(dv_, in_.k_offsets, part.sequence, part.k_begin, part.kv_head), dk_.stride(0),
            dv_.stride(0), part.band > 0};
  }
  const int64_t rows = in_.k_offsets.total() * r_.kv_heads;
  const int64_t row = (in_.k_offsets.begin(part.sequence) + part.k_begin) * r_.kv_heads + part.kv_head;
  const auto share = [&](const HeadsView<float>& x, Buffer<float>& shares) {
    return x.data == nullptr ? nullptr : shares.data() + ((part.band - 1) * rows + row) * x.dim(2);
  };
  return {share(dk_, dk_shares_), share(dv_, dv_shares_), r_.kv_heads * dk_.dim(2), r_.kv_heads * dv_.dim(2),
          false};
}

void BiasBands::add_key_shares(const HeadsView<float>& to, const Buffer<float>& shares) {
  if (to.data == nullptr) return;
  const int64_t width = to.dim(2), floats = in_.k_offsets.total() * r_.kv_heads * width;
  for (int64_t n = 0; n < r_.sequences; ++n) {
    if (empty(n)) continue;
    const int64_t lq = in_.q_offsets.length(n), lk = in_.k_offsets.length(n);
    const int64_t k0 = in_.k_offsets.begin(n);
    const BandCut cut = band_cut(lq, lk);
    const int64_t chunk = cut.keys, band = cut.queries;
    const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, r_.kv_heads * width));
    parallel_for(lk, grain, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; ++j) {
        const int64_t chunk_begin = j / chunk * chunk, chunk_end = std::min(lk, chunk_begin + chunk);
        for (int64_t b = 1; b * band < lq; ++b) {
          const Rows rows =
              rows_of_band(r_, lq, lk, {b * band, std::min(lq, (b + 1) * band)}, chunk_begin, chunk_end);
          if (rows.first == rows.end) continue;
          for (int64_t h = 0; h < r_.kv_heads; ++h) {
            const float* from = shares.data() + (b - 1) * floats + ((k0 + j) * r_.kv_heads + h) * width;
            float* row = row_of(to, in_.k_offsets, n, j, h);
            for (int64_t c = 0; c < width; ++c) row[c] += from[c];
          }
        }
      }
    });
  }
}

}  // namespace fovea
