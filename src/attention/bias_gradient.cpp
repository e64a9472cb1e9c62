#include "attention/bias_gradient.hpp"

#include <algorithm>

#include "fovea/base/parallel.hpp"

namespace fovea {
namespace {

constexpr int64_t kMostCopies = 8;
constexpr int64_t kMostFloats = int64_t{1} << 24;  // in all copies

}  // namespace

BiasGradient::BiasGradient(const ScoresView<float>& to, int64_t sequences, int64_t kv_heads, int64_t group)
    : to_(to),
      sequences_(sequences),
      kv_heads_(kv_heads),
      sequence_bundles_(sequences),
      head_bundles_(kv_heads) {
  if (!wanted()) return;
  shared_sequences_ = to.stride(0) == 0 && sequences > 1;
  shared_heads_ = to.stride(1) == 0 && kv_heads * group > 1;
  shared_ = shared_sequences_ || shared_heads_;
  if (!shared_) return;
  copy_.dims = to.dims;
  copy_size_ = 1;
  for (size_t axis = 4; axis-- > 0;) {
    copy_.strides[axis] = to.strides[axis] == 0 ? 0 : copy_size_;
    if (to.strides[axis] != 0) copy_size_ *= to.dims[axis];
  }
  const int64_t most = std::clamp<int64_t>(kMostFloats / std::max<int64_t>(1, copy_size_), 1, kMostCopies);
  if (shared_sequences_) sequence_bundles_ = std::min(sequences, most);
  if (shared_heads_)
    head_bundles_ =
        std::min(kv_heads, shared_sequences_ ? std::max<int64_t>(1, most / sequence_bundles_) : most);
  copies_ = (shared_sequences_ ? sequence_bundles_ : 1) * (shared_heads_ ? head_bundles_ : 1);
  memory_ = Buffer<float>(static_cast<size_t>((copies_ - 1) * copy_size_));
  std::fill_n(memory_.data(), memory_.size(), 0.0f);
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
