#include <algorithm>
#include <limits>

#include "attention/choose.hpp"
#include "attention/decode_call.hpp"
#include "attention/kv_cache_layout.hpp"
#include "attention/sequence.hpp"
#include "fovea/base/cpu.hpp"
#include "kernels/attention_decode.hpp"

namespace fovea {
namespace {

// Who multiplies in 16 bits, where a cache's type and a call's precision allow it.
kernels::DecodeNarrow narrow_of(const DecodeCall& call, CacheType type) {
  using kernels::DecodeNarrow;
  const bool fast = call.dtype == DType::kF32 && call.spec.precision == Precision::kFast;
  if ((!fast && call.dtype != DType::kBF16) || !reads_as_given(call.spec.score)) return DecodeNarrow::kNo;
  if (type == CacheType::kInt8) {
    if (current_attention_kernel() == "float32") return DecodeNarrow::kNo;
    const bool instructions = current_isa() == Isa::kAvx512 && cpu_features().avx512_vnni;
    return instructions ? DecodeNarrow::kInstructions : DecodeNarrow::kUsual;
  }
  const kernels::PairKernels* pairs =
      choose_pairs(shape_of(call.shapes, call.r, call.dtype, false), call.spec);
  if (type != CacheType::kBF16 || pairs == nullptr) return DecodeNarrow::kNo;
  return pairs == &kernels::pair_kernels(kernels::PairEngine::kInstruction) ? DecodeNarrow::kInstructions
                                                                            : DecodeNarrow::kUsual;
}

// A part of a cache and the rows that look at it: row g·Lq + i is query i of the group's head g.
class Part {
 public:
  Part(DecodeCall& call, const Item& item)
      : call_(call),
        n_(item.sequence),
        kv_head_(item.head),
        begin_(item.begin),
        end_(item.end),
        keys_(call.keys[static_cast<size_t>(n_)]),
        lq_(call.queries(n_)),
        lk_(call.key_count(n_)),
        rows_(call.rows(n_)),
        ranges_(static_cast<size_t>(2 * rows_)),
        distances_(static_cast<size_t>(call.r.has_distance() ? rows_ : 0)),
        scores_(call.scores_of(n_, kv_head_ * call.r.group)) {
    const int64_t width = call.width, extras = extra_width(call.spec.score);
    const int64_t floats = kernel_.workspace(call.value_width) + rows_ * (2 * width + extras + 1) + 3;
    workspace_ = Buffer<float>(static_cast<size_t>(floats));
    task_.type = decode_type(keys_.type);
    task_.layout = kernels::decode_layout(task_.type, width, call.value_width,
                                          keys_.cache == nullptr ? 1 : keys_.cache->options().block);
    task_.width = width;
    task_.value_width = call.value_width;
    task_.rows = rows_;
    task_.first = ranges_.data();
    task_.end = ranges_.data() + rows_;
    task_.softcap = call.r.softcap;
    if (call.r.has_distance()) task_.distance = distances_.data();
    task_.extras = extras;
    task_.scores_stride = lk_;
    start_state();
    place_rows();
  }

  void run() {
    if (scores_ != nullptr) {
      for (int64_t row = 0; row < rows_; ++row)
        std::fill(scores_ + row * lk_ + begin_, scores_ + row * lk_ + end_,
                  -std::numeric_limits<float>::infinity());
    }
    int64_t least = lk_, most = 0;  // keys that any row sees
    for (int64_t i = 0; i < lq_; ++i) {
      least = std::min(least, call_.r.first_key(i, lq_, lk_));
      most = std::max(most, call_.r.end_key(i, lq_, lk_));
    }
    const int64_t end = std::min(end_, most);
    for (int64_t token = std::max(begin_, least); token < end; token += task_.keys) {
      if (keys_.cache != nullptr) {
        place_run(keys_.cache->run_at(token, end), end);
      } else {
        place_rows_of_keys(token, end);
      }
      kernel_.run(task_, workspace_.data());
    }
  }

 private:
  void start_state() {
    float* state = call_.part(n_, kv_head_, begin_ / decode_part_length(lk_));
    task_.state = {state, state + rows_, state + 2 * rows_};
    std::fill_n(task_.state.max, rows_, kernels::kLeastMaximum);
    std::fill_n(task_.state.sum, rows_, 0.0f);
    std::fill_n(task_.state.out, rows_ * call_.value_width, 0.0f);
  }

  void place_rows() {
    const int64_t width = call_.width;
    float* q = workspace_.data() + kernel_.workspace(call_.value_width);
    float *words = q + rows_ * width, *extra = words + rows_ * width,
          *row_scale = extra + rows_ * task_.extras;
    const float scale = call_.r.scale * kLog2E;
    if (kernel_.narrows(task_.type, rows_, width)) task_.narrow = narrow_of(call_, keys_.type);
    const bool narrow = task_.narrow != kernels::DecodeNarrow::kNo;
    for (int64_t row = 0; row < rows_; ++row) {
      const float* from = row_of(call_.q, call_.shapes.q_offsets, n_, row % lq_, head_of_row(row));
      for (int64_t c = 0; c < width; ++c)
        q[row * width + c] = c < call_.d ? from[c] * (narrow ? 1.0f : scale) : 0.0f;
      for (int64_t e = 0; e < task_.extras; ++e) extra[e * rows_ + row] = from[call_.d + e] * scale;
    }
    task_.q = q;
    task_.row_extra = extra;
    if (!narrow) return;
    kernel_.narrow_rows(task_.type, q, rows_, width, scale, words, row_scale);
    task_.words = words;
    task_.row_scale = row_scale;
  }

  // The keys of a run, and what is read after it, before token `end`.
  void place_run(const KvCache::Run& run, int64_t end) {
    const int64_t head = kv_head_ * task_.layout.head_bytes();
    task_.head = run.memory + head;
    task_.first_token = run.token;
    task_.next = run.end == end ? nullptr : keys_.cache->run_at(run.end, run.end + 1).memory + head;
    place_keys(run.begin, run.end);
  }

  // Keys at strides, all of them.
  void place_rows_of_keys(int64_t begin, int64_t end) {
    task_.k = keys_.k + kv_head_ * keys_.k_head_stride + begin * keys_.k_stride;
    task_.v = keys_.v + kv_head_ * keys_.v_head_stride + begin * keys_.v_stride;
    task_.k_stride = keys_.k_stride;
    task_.v_stride = keys_.v_stride;
    place_keys(begin, end);
  }

  // What the rows see of the keys [begin, end).
  void place_keys(int64_t begin, int64_t end) {
    const Resolved& r = call_.r;
    task_.keys = end - begin;
    task_.scores = scores_ == nullptr ? nullptr : scores_ + begin;
    if (!reads_as_given(call_.spec.score)) add_key_terms();
    for (int64_t row = 0; row < rows_; ++row) {
      const int64_t i = row % lq_;
      const auto within = [&](int64_t key) { return std::clamp<int64_t>(key - begin, 0, task_.keys); };
      ranges_[static_cast<size_t>(row)] = within(r.first_key(i, lq_, lk_));
      ranges_[static_cast<size_t>(rows_ + row)] = within(r.end_key(i, lq_, lk_));
      if (r.has_distance()) {
        distances_[static_cast<size_t>(row)] =
            r.distance.data() + head_of_row(row) * r.distance_span + r.distance_zero + i + lk_ - lq_ - begin;
      }
    }
  }

  // What the score makes of a run's keys: a factor, and terms beside q·k.
  void add_key_terms() {
    const int64_t keys = task_.keys, floats = (2 + task_.extras) * keys;
    if (static_cast<int64_t>(terms_.size()) < floats) terms_ = Buffer<float>(static_cast<size_t>(floats));
    float *squared = terms_.data(), *factor = squared + keys, *extra = factor + keys;
    kernel_.squares(task_, squared);
    key_terms(call_.spec.score, keys, squared, factor, extra);
    task_.key_factor = factor;
    task_.key_extra = extra;
  }

  int64_t head_of_row(int64_t row) const { return kv_head_ * call_.r.group + row / lq_; }

  DecodeCall& call_;
  int64_t n_, kv_head_, begin_, end_;
  const DecodeKeys& keys_;
  int64_t lq_, lk_, rows_;
  const kernels::DecodeKernels& kernel_ = kernels::decode_kernels();
  Buffer<float> workspace_, terms_;
  Buffer<int64_t> ranges_;
  Buffer<const float*> distances_;
  float* scores_;
  kernels::DecodeTask task_;
};

}  // namespace

void run_decode_part(DecodeCall& call, const Item& item) {
  Part(call, item).run();
}

}  // namespace fovea
