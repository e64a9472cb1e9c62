#include "attention/distance_sums.hpp"

#include <algorithm>

namespace fovea {

DistanceSums::DistanceSums(const AttentionInputs& in, const Resolved& r, const AttentionGradients& g)
    : in_(in),
      r_(r),
      dtable_(g.dtable),
      dslopes_(g.dslopes),
      wanted_(r.has_distance() && (g.dtable != nullptr || g.dslopes != nullptr)) {
  if (!wanted_) return;
  int64_t span = 0;
  begin_ = Buffer<int64_t>(static_cast<size_t>(r.sequences));
  for (int64_t n = 0; n < r.sequences; ++n) {
    begin_[static_cast<size_t>(n)] = span;
    span += head_stride(n);
  }
  memory_ = Buffer<float>(static_cast<size_t>(span * r.heads));
  std::fill_n(memory_.data(), memory_.size(), 0.0f);
}

void DistanceSums::finish() const {
  if (!wanted_) return;
  Buffer<float> total(static_cast<size_t>(r_.heads * r_.distance_span));
  std::fill_n(total.data(), total.size(), 0.0f);
  for (int64_t n = 0; n < r_.sequences; ++n) {
    const int64_t width = head_stride(n);
    for (int64_t h = 0; h < r_.heads; ++h) {
      const float* from = memory_.data() + begin_[static_cast<size_t>(n)] * r_.heads + h * width;
      float* to = total.data() + h * r_.distance_span + r_.distance_zero - zero(n);
      for (int64_t p = 64; p < width - 64; ++p) to[p] += from[p];
    }
  }
  distance_gradient(in_, r_, total.data(), dtable_, dslopes_);
}

}  // namespace fovea
