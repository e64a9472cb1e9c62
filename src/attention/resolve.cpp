#include "attention/resolve.hpp"

#include <cmath>

#include "attention/score.hpp"
#include "attention/sequence.hpp"
#include "base/check.hpp"
#include "kernels/attention_units.hpp"

namespace fovea {
namespace {

constexpr int64_t kOverhang = 64;

void check_heads(std::string_view call, const char* name, const HeadsView<const float>& x, int64_t tokens) {
  check_argument(x.dim(0) == tokens, call,
                 "expected {} with one row for each of the {} tokens of its offsets, got {} rows", name,
                 tokens, x.dim(0));
  check_argument(x.dim(2) >= 0 && x.dim(2) <= 1024, call, "expected a width of {} between 0 and 1024, got {}",
                 name, x.dim(2));
  check_argument(x.stride(2) == 1 || x.numel() == 0, call,
                 "expected {} with an innermost stride of 1, got {}", name, x.stride(2));
  check_argument(x.data != nullptr || x.numel() == 0, call, "expected {} with data, got none", name);
}

void check_shapes(std::string_view call, const AttentionInputs& in) {
  check_heads(call, "q", in.q, in.q_offsets.total());
  check_heads(call, "k", in.k, in.k_offsets.total());
  check_heads(call, "v", in.v, in.k_offsets.total());
  const int64_t heads = in.q.dim(1), kv_heads = in.k.dim(1);
  check_argument(in.q_offsets.count() == in.k_offsets.count(), call,
                 "expected as many sequences of queries as of keys, got {} and {}", in.q_offsets.count(),
                 in.k_offsets.count());
  check_argument(in.v.dim(1) == kv_heads, call, "expected k and v with equal heads, got {} and {}", kv_heads,
                 in.v.dim(1));
  check_argument(kv_heads >= 1 ? heads % kv_heads == 0 : heads == 0, call,
                 "expected a number of key heads that divides the {} query heads, got {}", heads, kv_heads);
  check_argument(in.k.dim(2) == in.q.dim(2), call, "expected q and k of equal width, got {} and {}",
                 in.q.dim(2), in.k.dim(2));
}

// dims [N, H, Lq, Lk] of a bias, a mask or a bias's gradient.
template <class T>
void check_scores(std::string_view call, const char* name, const ScoresView<T>& x,
                  const AttentionInputs& in) {
  if (x.data == nullptr) return;
  const int64_t n = in.q_offsets.count(), h = in.q.dim(1);
  const int64_t lq = in.q_offsets.max_length(), lk = in.k_offsets.max_length();
  check_argument(x.dim(0) == n && x.dim(1) == h && x.dim(2) >= lq && x.dim(3) >= lk, call,
                 "expected {} [{}, {}, {}, {}] (0 as the stride of an axis that it is broadcast along), got "
                 "[{}, {}, {}, {}]",
                 name, n, h, lq, lk, x.dim(0), x.dim(1), x.dim(2), x.dim(3));
}

void check_blocks(std::string_view call, const AttentionInputs& in) {
  const auto size = static_cast<int64_t>(in.blocks.size());
  const int64_t sequences = in.q_offsets.count(), heads = in.q.dim(1);
  if (size == 0) return;
  check_argument(
      size == 1 || size == sequences || size == sequences * heads, call,
      "expected one block mask for all, one for each of the {} sequences, or one for each of their "
      "{} heads too, got {}",
      sequences, heads, size);
  const int64_t per_sequence = size == 1 || size == sequences ? 1 : heads;
  for (int64_t n = 0; n < sequences; ++n) {
    for (int64_t h = 0; h < per_sequence; ++h) {
      const BlockMask& mask = *blocks_of(in, n, h);
      check_argument(mask.queries() == in.q_offsets.length(n) && mask.keys() == in.k_offsets.length(n), call,
                     "expected a block mask of {} queries and {} keys for sequence {}, got {} and {}",
                     in.q_offsets.length(n), in.k_offsets.length(n), n, mask.queries(), mask.keys());
    }
  }
}

void check_override(std::string_view call, const AttentionInputs& in) {
  const AttentionOverride& o = in.override_heads;
  const auto heads = static_cast<size_t>(in.q.dim(1));
  if (o.heads.empty()) return;
  check_argument(o.heads.size() == heads, call, "expected an override for each of the {} heads, got {}",
                 heads, o.heads.size());
  const auto asks = [&](HeadOverride what) {
    return std::find(o.heads.begin(), o.heads.end(), what) != o.heads.end();
  };
  if (asks(HeadOverride::kFrozen)) {
    check_argument(o.log_weights.data != nullptr || in.q_offsets.total() == 0, call,
                   "expected log weights for frozen heads, got none");
    check_scores(call, "log weights", o.log_weights, in);
  }
  if (!asks(HeadOverride::kPermuted)) return;
  check_argument(static_cast<int64_t>(o.permutation.size()) == in.k_offsets.total(), call,
                 "expected a permutation of the {} keys, got {}", in.k_offsets.total(), o.permutation.size());
  for (int64_t n = 0; n < in.k_offsets.count(); ++n) {
    for (int64_t j = in.k_offsets.begin(n); j < in.k_offsets.end(n); ++j) {
      const int64_t to = o.permutation[static_cast<size_t>(j)];
      check_argument(to >= 0 && to < in.k_offsets.length(n), call,
                     "expected a permutation within the {} keys of sequence {}, got {}",
                     in.k_offsets.length(n), n, to);
    }
  }
}

void check_relative(std::string_view call, const RelativeBias& bias) {
  if (bias.table == nullptr) return;
  if (bias.kind == RelativeKind::kDistances) {
    const int64_t rows = bias.bidirectional ? 2 * bias.max_distance + 1 : bias.max_distance + 1;
    check_argument(bias.max_distance >= 0 && bias.buckets == rows, call,
                   "expected a relative table of {} rows for distances up to {}, got {}", rows,
                   bias.max_distance, bias.buckets);
    return;
  }
  const int64_t least = bias.bidirectional ? 4 : 2;
  check_argument(bias.buckets >= least && bias.max_distance > bias.buckets, call,
                 "expected at least {} relative buckets and max_distance > buckets, got {} and {}", least,
                 bias.buckets, bias.max_distance);
}

void check_options(std::string_view call, const AttentionInputs& in, const AttentionSpec& spec) {
  const auto heads = static_cast<size_t>(in.q.dim(1));
  check_argument(!spec.scale || std::isfinite(*spec.scale), call, "expected a finite scale, got {}",
                 spec.scale.value_or(0.0f));
  check_argument(spec.window_left >= -1 && spec.window_right >= -1, call,
                 "expected window_left and window_right >= -1, got {} and {}", spec.window_left,
                 spec.window_right);
  check_argument(std::isfinite(spec.softcap) && spec.softcap >= 0, call, "expected softcap >= 0, got {}",
                 spec.softcap);
  check_argument(spec.softcap == 0 || std::isnormal(spec.softcap), call,
                 "expected softcap 0 or a number whose reciprocal is finite, got {}", spec.softcap);
  check_argument(spec.top_k >= 0, call, "expected top_k >= 1, or 0 for all keys, got {}", spec.top_k);
  check_argument(spec.top_k == 0 || in.override_heads.heads.empty(), call,
                 "expected no overridden heads with top_k, got {}", in.override_heads.heads.size());
  check_argument(spec.dropout >= 0 && spec.dropout < 1, call, "expected dropout in [0, 1), got {}",
                 spec.dropout);
  check_argument(in.alibi_slopes.empty() || in.alibi_slopes.size() == heads, call,
                 "expected one ALiBi slope for each of the {} heads, got {}", heads, in.alibi_slopes.size());
  check_argument(in.sinks.empty() || in.sinks.size() == heads, call,
                 "expected one sink for each of the {} heads, got {}", heads, in.sinks.size());
  check_argument(in.scales.empty() || in.scales.size() == heads, call,
                 "expected one scale for each of the {} heads, got {}", heads, in.scales.size());
  check_argument(in.scales.empty() || !spec.scale, call,
                 "expected either a scale for each head or one for all, got both");
  for (const float scale : in.scales)
    check_argument(std::isfinite(scale), call, "expected finite scales, got {}", scale);
  check_argument(in.sinks.empty() || spec.normalizer != Normalizer::kSoftmaxOne, call,
                 "expected no sinks with softmax-one, whose sink is 0, got {}", in.sinks.size());
  check_relative(call, in.relative);
  check_scores(call, "bias", in.bias, in);
  check_scores(call, "mask", in.mask, in);
  check_blocks(call, in);
  check_override(call, in);
}

void fill_distance(const AttentionInputs& in, Resolved& r) {
  const int64_t lq = in.q_offsets.max_length(), lk = in.k_offsets.max_length();
  r.distance_zero = lq - 1 + kOverhang;
  r.distance_span = std::max<int64_t>(lq + lk - 1, 0) + 2 * kOverhang;
  r.distance = Buffer<float>(static_cast<size_t>(r.heads * r.distance_span));
  for (int64_t p = 0; p < r.distance_span; ++p) {
    const int64_t e = p - r.distance_zero;
    const int64_t bucket = in.relative.table == nullptr ? 0 : relative_row(in.relative, -e);
    for (int64_t h = 0; h < r.heads; ++h) {
      float bias = 0.0f;
      if (in.relative.table != nullptr) bias += in.relative.table[bucket * r.heads + h];
      if (!in.alibi_slopes.empty())
        bias -= in.alibi_slopes[static_cast<size_t>(h)] * static_cast<float>(std::abs(e));
      r.distance[static_cast<size_t>(h * r.distance_span + p)] = kernels::within_range(bias);
    }
  }
}

}  // namespace

int64_t relative_bucket(int64_t distance, int64_t buckets, int64_t max_distance, bool bidirectional) {
  int64_t bucket = 0;
  int64_t n = -distance;  // how far the key lies before the query
  if (bidirectional) {
    buckets /= 2;
    if (n < 0) bucket = buckets;
    n = std::abs(n);
  } else {
    n = std::max<int64_t>(n, 0);
  }
  const int64_t exact = buckets / 2;
  if (n < exact) return bucket + n;
  const double ratio = std::log(static_cast<double>(n) / static_cast<double>(exact)) /
                       std::log(static_cast<double>(max_distance) / static_cast<double>(exact));
  const auto step = static_cast<int64_t>(ratio * static_cast<double>(buckets - exact));
  return bucket + std::min(exact + step, buckets - 1);
}

int64_t relative_row(const RelativeBias& bias, int64_t distance) {
  if (bias.kind == RelativeKind::kBuckets)
    return relative_bucket(distance, bias.buckets, bias.max_distance, bias.bidirectional);
  const int64_t most = bias.max_distance;
  return bias.bidirectional ? most + std::clamp(distance, -most, most)
                            : std::clamp<int64_t>(-distance, 0, most);
}

Resolved resolve(std::string_view call, const AttentionInputs& in, const AttentionSpec& spec) {
  check_shapes(call, in);
  check_options(call, in, spec);
  Resolved r;
  r.heads = in.q.dim(1);
  r.kv_heads = in.k.dim(1);
  r.group = r.kv_heads == 0 ? 0 : r.heads / r.kv_heads;
  r.d = in.q.dim(2) + extra_width(spec.score);
  r.dv = in.v.dim(2);
  r.differences = is_distance(spec.score);
  r.timelike = r.differences && extra_width(spec.score) > 0;
  r.sequences = in.q_offsets.count();
  r.scale = spec.scale.value_or(static_cast<float>(usual_scale(spec.score, in.q.dim(2))));
  r.scales = in.scales;
  r.overrides = in.override_heads.heads;
  r.sinks = in.sinks.empty() ? nullptr : in.sinks.data();
  if (spec.normalizer == Normalizer::kSoftmaxOne) {
    r.no_sinks = Buffer<float>(static_cast<size_t>(r.heads));
    std::fill_n(r.no_sinks.data(), r.heads, 0.0f);
    r.sinks = r.no_sinks.data();
  }
  if (spec.window_left >= 0) r.left = spec.window_left;
  if (spec.window_right >= 0) r.right = spec.window_right;
  if (spec.causal) r.right = std::min<int64_t>(r.right, 0);
  r.softcap = spec.softcap;
  r.top_k = std::min(spec.top_k, std::max<int64_t>(1, in.k_offsets.max_length()));
  r.dropout_key = spec.dropout_key;
  r.drop_below = static_cast<uint32_t>(std::min(65535.0f, std::round(spec.dropout * 65536.0f)));
  r.keep_scale = 65536.0f / static_cast<float>(65536u - r.drop_below);
  if (in.relative.table != nullptr || !in.alibi_slopes.empty()) fill_distance(in, r);
  return r;
}

void permute_keys(const AttentionInputs& in, Resolved& r) {
  if (!r.overrides_with(HeadOverride::kPermuted)) return;
  const int64_t tokens = in.k_offsets.total();
  r.permuted_k = Tensor::empty({tokens, r.kv_heads, r.d});
  for_tokens(in.k_offsets, 0, tokens, [&](int64_t n, int64_t, int64_t t) {
    const int64_t from = in.override_heads.permutation[static_cast<size_t>(t)];
    for (int64_t h = 0; h < r.kv_heads; ++h)
      std::copy_n(row_of(in.k, in.k_offsets, n, from, h), r.d,
                  r.permuted_k.data() + (t * r.kv_heads + h) * r.d);
  });
}

void distance_gradient(const AttentionInputs& in, const Resolved& r, const float* ddistance, float* dtable,
                       float* dslopes) {
  for (int64_t p = 0; p < r.distance_span; ++p) {
    const int64_t e = p - r.distance_zero;
    const int64_t bucket = in.relative.table == nullptr ? 0 : relative_row(in.relative, -e);
    for (int64_t h = 0; h < r.heads; ++h) {
      const float g = ddistance[h * r.distance_span + p];
      if (dtable != nullptr) dtable[bucket * r.heads + h] += g;
      if (dslopes != nullptr) dslopes[h] -= g * static_cast<float>(std::abs(e));
    }
  }
}

}  // namespace fovea
