// Queries that decode on caches, by the engine and in float64 on what the cache holds.
//
// Tolerance of decoding: as problem.hpp states for the forward of float32 (out: w·max|v|), with the sum over
// keys cut in parts, which adds one rounding a part; 32 parts at most: 32ε·max|v|.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "fovea/attention/decode.hpp"
#include "fovea/base/cpu.hpp"
#include "fovea/base/parallel.hpp"
#include "tests/attention/problem.hpp"
#include "tests/support/use_isa.hpp"

namespace fovea::testing {

inline constexpr double kDecodeEps = 0x1p-23;

inline HeadsView<const float> view_of(const Tensor& x) {
  return contiguous_view<const float, 3>(x.data(), {x.dim(0), x.dim(1), x.dim(2)});
}
inline HeadsView<float> out_view(Tensor& x) {
  return contiguous_view<float, 3>(x.data(), {x.dim(0), x.dim(1), x.dim(2)});
}

inline Tensor random_tensor(uint64_t seed, const Shape& shape, double magnitude = 1.0) {
  Tensor x = Tensor::empty(shape);
  Random random(seed);
  for (float& value : x.span()) value = static_cast<float>(magnitude * random.normal());
  return x;
}

struct DecodeCase {
  std::vector<int64_t> q_lengths{1}, k_lengths{40};
  int64_t heads = 4, kv_heads = 2, d = 24, dv = 20, block = 16, evicted = 0;
  CacheType type = CacheType::kF32;
  AttentionSpec spec;
  bool alibi = false, sinks = false;
};

struct Decoded {
  std::vector<KvCache> caches;
  Tensor q, slopes, sinks, out, lse;
  DecodeInputs inputs;
  std::vector<const KvCache*> pointers;
  Insight seen;
};

inline void prepare(const DecodeCase& c, Decoded& x) {
  uint64_t seed = 11;
  for (const int64_t keys : c.k_lengths) {
    KvCache cache({c.kv_heads, c.d, c.dv, c.type, c.block, 0});
    const int64_t total = keys + c.evicted;
    const Tensor k = random_tensor(seed, {total, c.kv_heads, c.d}),
                 v = random_tensor(seed + 1, {total, c.kv_heads, c.dv});
    const int64_t first = total / 3;  // in two pieces
    cache.append(view_of(k.rows(0, first)), view_of(v.rows(0, first)));
    cache.append(view_of(k.rows(first, total)), view_of(v.rows(first, total)));
    cache.evict(c.evicted);
    x.caches.push_back(cache);
    seed += 2;
  }
  for (const KvCache& cache : x.caches) x.pointers.push_back(&cache);
  x.inputs.q_offsets = Offsets::from_lengths(c.q_lengths);
  x.q = random_tensor(5, {x.inputs.q_offsets.total(), c.heads, c.d});
  x.slopes = random_tensor(6, {c.heads}, 0.1);
  x.sinks = random_tensor(7, {c.heads});
  x.inputs.q = view_of(x.q);
  x.inputs.caches = x.pointers;
  if (c.alibi) x.inputs.alibi_slopes = x.slopes.span();
  if (c.sinks) x.inputs.sinks = x.sinks.span();
  x.out = Tensor::full({x.q.dim(0), c.heads, c.dv}, NAN);
  x.lse = Tensor::full({x.q.dim(0), c.heads}, NAN);
}

inline void decode(const DecodeCase& c, Decoded& x, const Observers& observers = {}) {
  attention_decode(x.inputs, c.spec, out_view(x.out), x.lse.data(), observers,
                   observers.any() ? &x.seen : nullptr);
}

inline reference::Attention reference_of(const DecodeCase& c, const Decoded& x, int64_t n) {
  const KvCache& cache = x.caches[static_cast<size_t>(n)];
  reference::Attention r;
  r.lq = x.inputs.q_offsets.length(n);
  r.lk = cache.length();
  r.heads = c.heads;
  r.kv_heads = c.kv_heads;
  r.d = c.d;
  r.dv = c.dv;
  r.scale = c.spec.scale ? static_cast<double>(*c.spec.scale) : 1.0 / std::sqrt(static_cast<double>(c.d));
  r.cosine = c.spec.score == Score::kCosine;
  r.neg_squared_l2 = c.spec.score == Score::kNegSquaredL2;
  r.neg_squared_lorentz = c.spec.score == Score::kNegSquaredLorentz;
  r.softcap = static_cast<double>(c.spec.softcap);
  r.causal = c.spec.causal;
  r.left = c.spec.window_left;
  r.right = c.spec.window_right;
  for (int64_t t = x.inputs.q_offsets.begin(n) * c.heads * c.d; t < x.inputs.q_offsets.end(n) * c.heads * c.d;
       ++t)
    r.q.push_back(static_cast<double>(x.q.data()[t]));
  std::vector<float> k(static_cast<size_t>(c.kv_heads * c.d)), v(static_cast<size_t>(c.kv_heads * c.dv));
  for (int64_t i = 0; i < cache.length(); ++i) {
    cache.read(i, k.data(), v.data());
    r.k.insert(r.k.end(), k.begin(), k.end());
    r.v.insert(r.v.end(), v.begin(), v.end());
  }
  if (c.sinks) {
    for (const float s : x.sinks.span()) r.sinks.push_back(static_cast<double>(s));
  }
  if (c.alibi) {
    r.bias = [&x](int64_t h, int64_t e) {
      return -static_cast<double>(x.slopes.data()[h]) * static_cast<double>(std::abs(e));
    };
  }
  r.forward();
  return r;
}

// As problem.hpp: scores are sums of d terms of normal numbers times normal numbers, at most 12 d, scaled;
// those of −|q − k|² and of Lorentz have five times as many, and are scaled by a fifth.
inline double weight_tolerance(const DecodeCase& c, const reference::Attention& r) {
  const double s = kDecodeEps * (6 * 12 * std::sqrt(static_cast<double>(c.d)) + r.softcap + 100);
  return 2 * s + 4 * kDecodeEps + 20 * kDecodeEps +
         (3 * std::sqrt(static_cast<double>(r.lk)) + 32) * kDecodeEps;
}

inline void expect_near_reference(const DecodeCase& c, const Decoded& x) {
  for (int64_t n = 0; n < x.inputs.q_offsets.count(); ++n) {
    const reference::Attention r = reference_of(c, x, n);
    const double w = weight_tolerance(c, r);
    double most = 0;
    for (const double value : r.v) most = std::max(most, std::abs(value));
    const int64_t q0 = x.inputs.q_offsets.begin(n);
    for (size_t i = 0; i < r.out.size(); ++i) {
      const auto got = static_cast<double>(x.out.data()[q0 * c.heads * c.dv + static_cast<int64_t>(i)]);
      ASSERT_NEAR(got, r.out[i], w * most)
          << "out " << i << " of sequence " << n << " in " << to_string(c.type);
    }
    for (size_t i = 0; i < r.lse.size(); ++i) {
      const auto got = static_cast<double>(x.lse.data()[q0 * c.heads + static_cast<int64_t>(i)]);
      if (std::isinf(r.lse[i])) {
        ASSERT_EQ(got, r.lse[i]);
      } else {
        ASSERT_NEAR(got, r.lse[i], w) << "lse " << i << " of sequence " << n;
      }
    }
  }
}

// Decodes on 1, 2, 3 and 8 threads; leaves what one thread found.
inline void expect_same_bits_on_any_threads(const DecodeCase& c, Decoded& x) {
  const int threads = get_num_threads();
  set_num_threads(1);
  decode(c, x);
  const Tensor out = x.out.clone(), lse = x.lse.clone();
  for (const int n : {2, 3, 8}) {
    set_num_threads(n);
    decode(c, x);
    expect_same_bits(x.out, out, "out");
    expect_same_bits(x.lse, lse, "lse");
  }
  set_num_threads(threads);
}

inline void on_every_isa(const std::function<void()>& body) {
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    SCOPED_TRACE(to_string(isa));
    body();
  }
}

}  // namespace fovea::testing
