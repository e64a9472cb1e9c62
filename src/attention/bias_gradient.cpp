#include "attention/bias_gradient.hpp"

#include <algorithm>

#include "attention/schedule.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea {
namespace {

constexpr int64_t kMostCopies = 8;
constexpr int64_t kMostFloats = int64_t{1} << 24;  // in all copies
constexpr int64_t kEnoughTasks = 16;               // more are not worth copies

}  // namespace

BiasGradient::BiasGradient(const ScoresView<float>& to, const AttentionInputs& in, const Resolved& r,
                           bool distances)
    : to_(to),
      in_(in),
      kernel_(kernels::attention_kernels()),
      sequences_(r.sequences),
      kv_heads_(r.kv_heads),
      group_(r.group),
      sequence_bundles_(r.sequences),
      head_bundles_(r.kv_heads) {
  if (!wanted()) return;
  shared_sequences_ = to.stride(0) == 0 && sequences_ > 1;
  shared_heads_ = to.stride(1) == 0 && r.heads > 1;
  if (!shared_sequences_ && !shared_heads_) return;
  for (int64_t n = 0; n < sequences_; ++n) {
    longest_q_ = std::max(longest_q_, in.q_offsets.length(n));
    longest_k_ = std::max(longest_k_, in.k_offsets.length(n));
  }
  const bool matrices = to.stride(2) != 0 && to.stride(3) != 0;
  if (matrices && is_short(longest_q_, longest_k_)) {
    make_tiles();
  } else if (matrices && shared_heads_ && !distances) {
    way_ = Way::kBands;
  } else {
    make_copies();
  }
}

// Cuts what shares elements into at most `most` bundles.
void BiasGradient::bundle(int64_t most) {
  const int64_t regions = (shared_sequences_ ? 1 : sequences_) * (shared_heads_ ? 1 : kv_heads_);
  most = std::clamp<int64_t>((kEnoughTasks + regions - 1) / std::max<int64_t>(1, regions), 1, most);
  if (shared_sequences_) sequence_bundles_ = std::min(sequences_, most);
  if (shared_heads_) {
    head_bundles_ = shared_sequences_ ? std::max<int64_t>(1, most / sequence_bundles_) : most;
    head_bundles_ = std::min(kv_heads_, head_bundles_);
  }
  copies_ = (shared_sequences_ ? sequence_bundles_ : 1) * (shared_heads_ ? head_bundles_ : 1);
}

void BiasGradient::make_copies() {
  way_ = Way::kCopies;
  copy_.dims = to_.dims;
  copy_size_ = 1;
  for (size_t axis = 4; axis-- > 0;) {
    copy_.strides[axis] = to_.strides[axis] == 0 ? 0 : copy_size_;
    if (to_.strides[axis] != 0) copy_size_ *= to_.dims[axis];
  }
  bundle(std::clamp<int64_t>(kMostFloats / std::max<int64_t>(1, copy_size_), 1, kMostCopies));
  memory_ = Buffer<float>(static_cast<size_t>((copies_ - 1) * copy_size_));
  std::fill_n(memory_.data(), memory_.size(), 0.0f);
}

// Two key heads or sequences a bundle, or tiles would save nothing.
void BiasGradient::make_tiles() {
  way_ = Way::kTiles;
  const int64_t members = (shared_sequences_ ? sequences_ : 1) * (shared_heads_ ? kv_heads_ : 1);
  bundle(std::clamp<int64_t>(members / 2, 1, kMostCopies));
  sums_size_ = kernel_.score_tiles_size(longest_q_, longest_k_);
  matrices_ = to_.stride(1) == 0 ? 1 : group_;
  const int64_t held = copies_ > 1 ? sequence_bundles_ * head_bundles_ : get_num_threads();
  memory_ = Buffer<float>(static_cast<size_t>(held * matrices_ * sums_size_));
  ScoresView<const float> bias = in_.bias;
  if (group_ == 1) bias.strides[1] = 0;  // a task has one head
  if (!lies_for_tiles(bias)) return;
  copied_ = Buffer<Copied>(static_cast<size_t>(get_num_threads()));
  std::fill_n(copied_.data(), copied_.size(), Copied{});
  bias_memory_ = Buffer<float>(static_cast<size_t>(get_num_threads() * sums_size_));
}

kernels::ScoreTiles BiasGradient::bias_tiles(int64_t n, int64_t h) {
  if (copied_.size() == 0) return {};
  Copied& copied = copied_[static_cast<size_t>(thread_index())];
  const Copied wanted{scores_of(in_.bias, n, h), in_.q_offsets.length(n), in_.k_offsets.length(n)};
  const kernels::ScoreTiles tiles{bias_memory_.data() + thread_index() * sums_size_, 0, 0, longest_q_,
                                  longest_k_};
  if (copied.bias != wanted.bias || copied.queries != wanted.queries || copied.keys != wanted.keys) {
    kernel_.begin_score_tiles(tiles);
    copied = wanted;
  }
  return tiles;
}

kernels::ScoreTiles BiasGradient::sums_of(int64_t a, int64_t b, int64_t matrix) {
  const int64_t place = copies_ > 1 ? a * head_bundles_ + b : thread_index();
  return {memory_.data() + (place * matrices_ + matrix) * sums_size_, 0, 0, longest_q_, longest_k_};
}

void BiasGradient::begin_bundle(int64_t a, int64_t b) {
  if (way_ != Way::kTiles) return;
  for (int64_t m = 0; m < matrices_; ++m) kernel_.begin_score_tiles(sums_of(a, b, m));
}

void BiasGradient::end_bundle(int64_t a, int64_t b) {
  if (way_ == Way::kTiles && copies_ == 1) end_tiles(a, b, 0, longest_q_);
}

void BiasGradient::end_tiles(int64_t a, int64_t b, int64_t begin, int64_t end) {
  for (int64_t m = 0; m < matrices_; ++m) {
    float* dbias = scores_of(to_, shared_sequences_ ? 0 : a, shared_heads_ ? 0 : b * group_ + m);
    kernel_.add_score_tiles(sums_of(a, b, m), begin, end, dbias, to_.stride(2), to_.stride(3));
  }
}

ScoresView<float> BiasGradient::of(int64_t a, int64_t b, int64_t n, int64_t h) {
  const int64_t copy =
      (shared_sequences_ ? a : 0) * (shared_heads_ ? head_bundles_ : 1) + (shared_heads_ ? b : 0);
  ScoresView<float> view = to_;
  if (copy > 0) {
    view.strides = copy_.strides;
    view.data = memory_.data() + (copy - 1) * copy_size_;
  }
  view.data = scores_of(view, n, h);
  return view;
}

void BiasGradient::finish() {
  if (copies_ == 1) return;
  if (way_ == Way::kCopies) return add_copies();
  // Bundles that share elements in order, rows side by side.
  constexpr int64_t kRows = 64;
  const int64_t strips = (longest_q_ + kRows - 1) / kRows;
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, copies_ * kRows * longest_k_));
  parallel_for(strips, grain, [&](int64_t begin, int64_t end) {
    for (int64_t a = 0; a < sequence_bundles_; ++a) {
      for (int64_t b = 0; b < head_bundles_; ++b)
        end_tiles(a, b, begin * kRows, std::min(longest_q_, end * kRows));
    }
  });
}

void BiasGradient::add_copies() {
  const auto extent = [&](size_t axis) { return to_.strides[axis] == 0 ? 1 : to_.dims[axis]; };
  const int64_t rows = extent(0) * extent(1) * extent(2), keys = extent(3);
  parallel_for(
      rows, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, keys)), [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const int64_t i = row % extent(2), h = row / extent(2) % extent(1), n = row / extent(2) / extent(1);
          float* to = to_.data + n * to_.stride(0) + h * to_.stride(1) + i * to_.stride(2);
          for (int64_t copy = 1; copy < copies_; ++copy) {
            const float* from = memory_.data() + (copy - 1) * copy_size_ + row * keys;
            for (int64_t j = 0; j < keys; ++j) to[j * to_.stride(3)] += from[j];
          }
        }
      });
}

}  // namespace fovea
