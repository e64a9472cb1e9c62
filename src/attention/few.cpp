#include "attention/few.hpp"

#include <type_traits>

#include "attention/decode_call.hpp"
#include "attention/sequence.hpp"
#include "attention/widen.hpp"
#include "fovea/attention/plan.hpp"
#include "fovea/kernels/convert.hpp"

namespace fovea {
namespace {

// Beyond these, vectors of queries win; with fewer keys, the parts and their merging show.
constexpr int64_t kMostQueries = 8, kLeastKeys = 64;
constexpr int64_t kWidths = 16;  // numbers of the widest vector, which rows of keys and values consist of

bool serves(const AttentionInputs& in, const Resolved& r, const AttentionSpec& spec) {
  return current_attention_kernel().empty() && reads_as_given(spec.score) && r.d > 0 && r.dv > 0 &&
         r.d % kWidths == 0 && r.dv % kWidths == 0 && r.scales.empty() && r.top_k == 0 && r.drop_below == 0 &&
         r.overrides.empty() && in.bias.data == nullptr && in.mask.data == nullptr && in.blocks.empty();
}

bool few(const AttentionInputs& in, int64_t n) {
  const int64_t lq = in.q_offsets.length(n);
  return lq >= 1 && lq <= kMostQueries && in.k_offsets.length(n) >= kLeastKeys;
}

template <class T>
constexpr CacheType cache_type() {
  if (std::is_same_v<T, BFloat16>) return CacheType::kBF16;
  if (std::is_same_v<T, Float16>) return CacheType::kF16;
  return CacheType::kF32;
}

template <class T>
DecodeKeys keys_of(const HeadsView<const T>& k, const HeadsView<const T>& v, const Offsets& offsets,
                   int64_t n) {
  constexpr auto kSize = static_cast<int64_t>(sizeof(T));
  DecodeKeys keys;
  keys.type = cache_type<T>();
  keys.k = reinterpret_cast<const std::byte*>(row_of(k, offsets, n, 0, 0));
  keys.v = reinterpret_cast<const std::byte*>(row_of(v, offsets, n, 0, 0));
  keys.k_stride = k.stride(0) * kSize;
  keys.v_stride = v.stride(0) * kSize;
  keys.k_head_stride = k.stride(1) * kSize;
  keys.v_head_stride = v.stride(1) * kSize;
  return keys;
}

}  // namespace

Few few_queries(const AttentionInputs& in, const Resolved& r, const AttentionSpec& spec) {
  if (!serves(in, r, spec)) return Few::kNone;
  int64_t count = 0, empty = 0;
  for (int64_t n = 0; n < r.sequences; ++n) {
    if (in.q_offsets.length(n) == 0) ++empty;
    if (few(in, n)) ++count;
  }
  if (count == 0) return Few::kNone;
  return count + empty == r.sequences ? Few::kAll : Few::kSome;
}

template <class T>
void few_forward(const AttentionInputs& in, const Resolved& r, const AttentionSpec& spec,
                 HeadsView<const T> q, HeadsView<const T> k, HeadsView<const T> v, HeadsView<T> out,
                 SoftmaxOutput softmax) {
  DecodeCall call{in, r, spec, dtype_of<T>};
  call.d = call.width = r.d;
  call.value_width = r.dv;
  call.keys.resize(static_cast<size_t>(r.sequences));
  for (int64_t n = 0; n < r.sequences; ++n) {
    if (few(in, n)) call.keys[static_cast<size_t>(n)] = keys_of(k, v, in.k_offsets, n);
  }
  if constexpr (std::is_same_v<T, float>) {
    call.q = q;
    run_decode(call, out, softmax, {}, nullptr);
  } else {
    const Tensor wide_q = widened(q, in.q_offsets);
    Tensor wide_out = Tensor::empty({q.dim(0), r.heads, r.dv});
    call.q = heads_view<float>(wide_q);
    run_decode(call, heads_view<float>(wide_out), softmax, {}, nullptr);
    for (int64_t n = 0; n < r.sequences; ++n) {
      for (int64_t row = 0; row < call.queries(n) * r.heads; ++row) {
        const int64_t i = row / r.heads, h = row % r.heads;
        const float* from = wide_out.data() + ((in.q_offsets.begin(n) + i) * r.heads + h) * r.dv;
        kernels::narrow(r.dv, from, row_of(out, in.q_offsets, n, i, h));
      }
    }
  }
}

template void few_forward(const AttentionInputs&, const Resolved&, const AttentionSpec&,
                          HeadsView<const float>, HeadsView<const float>, HeadsView<const float>,
                          HeadsView<float>, SoftmaxOutput);
template void few_forward(const AttentionInputs&, const Resolved&, const AttentionSpec&,
                          HeadsView<const BFloat16>, HeadsView<const BFloat16>, HeadsView<const BFloat16>,
                          HeadsView<BFloat16>, SoftmaxOutput);
template void few_forward(const AttentionInputs&, const Resolved&, const AttentionSpec&,
                          HeadsView<const Float16>, HeadsView<const Float16>, HeadsView<const Float16>,
                          HeadsView<Float16>, SoftmaxOutput);

}  // namespace fovea
