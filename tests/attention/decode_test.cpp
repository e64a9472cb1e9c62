// Caches, and decoding on them against float64 on what the cache holds.
//
// Tolerance of decoding: as problem.hpp states for the forward of float32 (out: w·max|v|), with the sum over
// keys cut in parts, which adds one rounding a part; 32 parts at most: 32ε·max|v|.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "fovea/attention/decode.hpp"
#include "fovea/base/cpu.hpp"
#include "fovea/base/error.hpp"
#include "fovea/base/parallel.hpp"
#include "tests/attention/problem.hpp"
#include "tests/support/expect_error.hpp"

namespace fovea::testing {
namespace {

constexpr double kEps = 0x1p-23;

HeadsView<const float> view_of(const Tensor& x) {
  return contiguous_view<const float, 3>(x.data(), {x.dim(0), x.dim(1), x.dim(2)});
}
HeadsView<float> out_view(Tensor& x) {
  return contiguous_view<float, 3>(x.data(), {x.dim(0), x.dim(1), x.dim(2)});
}

Tensor random_tensor(uint64_t seed, const Shape& shape, double magnitude = 1.0) {
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

void prepare(const DecodeCase& c, Decoded& x) {
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

void decode(const DecodeCase& c, Decoded& x, const Observers& observers = {}) {
  attention_decode(x.inputs, c.spec, out_view(x.out), x.lse.data(), observers,
                   observers.any() ? &x.seen : nullptr);
}

reference::Attention reference_of(const DecodeCase& c, const Decoded& x, int64_t n) {
  const KvCache& cache = x.caches[static_cast<size_t>(n)];
  reference::Attention r;
  r.lq = x.inputs.q_offsets.length(n);
  r.lk = cache.length();
  r.heads = c.heads;
  r.kv_heads = c.kv_heads;
  r.d = c.d;
  r.dv = c.dv;
  r.scale = 1.0 / std::sqrt(static_cast<double>(c.d));
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

// As problem.hpp: scores are sums of d terms of normal numbers times normal numbers, at most 12 d, scaled.
double weight_tolerance(const DecodeCase& c, const reference::Attention& r) {
  const double s = kEps * (6 * 12 * std::sqrt(static_cast<double>(c.d)) + r.softcap + 100);
  return 2 * s + 4 * kEps + 20 * kEps + (3 * std::sqrt(static_cast<double>(r.lk)) + 32) * kEps;
}

void expect_near_reference(const DecodeCase& c, const Decoded& x) {
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

void on_every_isa(const std::function<void()>& body) {
  const Isa before = current_isa();
  for (const Isa isa : available_isas()) {
    set_isa(isa);
    SCOPED_TRACE(to_string(isa));
    body();
  }
  set_isa(before);
}

TEST(KvCache, HoldsWhatItsTypeCanHold) {
  const Tensor k = random_tensor(1, {37, 3, 10}), v = random_tensor(2, {37, 3, 5});
  for (const CacheType type : {CacheType::kF32, CacheType::kBF16, CacheType::kF16, CacheType::kInt8}) {
    KvCache cache({3, 10, 5, type, 8, 0});
    cache.append(view_of(k), view_of(v));
    ASSERT_EQ(cache.length(), 37);
    ASSERT_EQ(cache.blocks(), 5);
    std::vector<float> key(30), value(15);
    for (int64_t i = 0; i < 37; ++i) {
      cache.read(i, key.data(), value.data());
      for (int64_t h = 0; h < 3; ++h) {
        float most = 0;
        for (int64_t c = 0; c < 10; ++c) most = std::max(most, std::abs(k.data()[(i * 3 + h) * 10 + c]));
        for (int64_t c = 0; c < 10; ++c) {
          const float want = k.data()[(i * 3 + h) * 10 + c], got = key[static_cast<size_t>(h * 10 + c)];
          switch (type) {
            case CacheType::kF32:
              ASSERT_EQ(got, want);
              break;
            case CacheType::kBF16:
              ASSERT_EQ(got, static_cast<float>(BFloat16(want)));
              break;
            case CacheType::kF16:
              ASSERT_EQ(got, static_cast<float>(Float16(want)));
              break;
            case CacheType::kInt8:  // half a step of max / 127, and float32 roundings
              ASSERT_NEAR(got, want, most / 254.0f * 1.0001f);
              break;
          }
        }
      }
      ASSERT_NEAR(value[0], v.data()[i * 15], type == CacheType::kF32 ? 0.0f : 0.02f);
    }
  }
}

TEST(KvCache, ForksShareBlocksUntilTheyDiffer) {
  const Tensor k = random_tensor(1, {20, 1, 4}), v = random_tensor(2, {20, 1, 4}),
               other = random_tensor(3, {2, 1, 4});
  KvCache cache({1, 4, 4, CacheType::kF32, 16, 0});
  cache.append(view_of(k), view_of(v));
  KvCache fork = cache.fork();
  const void* last = cache.run_at(16, 20).k;
  EXPECT_EQ(fork.run_at(16, 20).k, last);
  fork.append(view_of(other), view_of(other));
  EXPECT_NE(fork.run_at(16, 20).k, last);                  // the shared last block was copied …
  EXPECT_EQ(fork.run_at(0, 16).k, cache.run_at(0, 16).k);  // … the full one is still shared
  EXPECT_EQ(cache.length(), 20);
  EXPECT_EQ(fork.length(), 22);
  float a[4], b[4], value[4];
  cache.append(view_of(k.rows(0, 1)), view_of(v.rows(0, 1)));
  fork.read(20, a, value);
  cache.read(20, b, value);
  EXPECT_EQ(a[0], other.data()[0]);
  EXPECT_EQ(b[0], k.data()[0]);
  fork.read(17, a, value);
  EXPECT_EQ(a[2], k.data()[17 * 4 + 2]);
}

TEST(KvCache, SlidesWithoutCopying) {
  KvCache cache({1, 4, 4, CacheType::kF32, 8, 10});
  for (int64_t t = 0; t < 50; ++t) {
    const Tensor k = Tensor::full({1, 1, 4}, static_cast<double>(t));
    cache.append(view_of(k), view_of(k));
    ASSERT_EQ(cache.length(), std::min<int64_t>(t + 1, 10));
    ASSERT_EQ(cache.position() + cache.length(), t + 1);
    ASSERT_LE(cache.blocks(), 3);
    float k0[4], v0[4];
    cache.read(0, k0, v0);
    ASSERT_EQ(k0[0], static_cast<float>(std::max<int64_t>(0, t - 9)));
  }
  cache.evict(10);
  EXPECT_EQ(cache.length(), 0);
}

TEST(KvCache, NamesWhatIsWrong) {
  EXPECT_ERROR(KvCache({.kv_heads = 0}), ArgumentError, "[KvCache] expected at least one head, got 0");
  EXPECT_ERROR(KvCache({.width = 1025}), ArgumentError,
               "[KvCache] expected widths between 1 and 1024, got 1025 and 64");
  KvCache cache({1, 4, 4, CacheType::kF32, 8, 0});
  const Tensor k = Tensor::zeros({2, 1, 4}), v = Tensor::zeros({3, 1, 4});
  EXPECT_ERROR(cache.append(view_of(k), view_of(v)), ArgumentError,
               "[KvCache.append] expected v [2, 1, 4] with an innermost stride of 1, got [3, 1, 4]");
  EXPECT_ERROR(cache.evict(1), ArgumentError, "[KvCache.evict] expected between 0 and 0 tokens, got 1");
}

TEST(Decode, EqualsFloat64OnEveryTypeAndLength) {
  on_every_isa([] {
    for (const CacheType type : {CacheType::kF32, CacheType::kBF16, CacheType::kF16, CacheType::kInt8}) {
      for (const int64_t keys : {0, 1, 3, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 1000}) {
        DecodeCase c;
        c.type = type;
        c.k_lengths = {keys};
        Decoded x;
        prepare(c, x);
        decode(c, x);
        expect_near_reference(c, x);
      }
    }
  });
}

// Kernels take rows (queries × grouped heads) by the vector, by two vectors, and what is left of them.
TEST(Decode, EqualsFloat64ForEveryNumberOfRows) {
  on_every_isa([] {
    for (const CacheType type : {CacheType::kF32, CacheType::kBF16, CacheType::kF16, CacheType::kInt8}) {
      for (const int64_t queries : {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 16, 17, 33}) {
        DecodeCase c;
        c.type = type;
        c.q_lengths = {queries, queries};
        c.k_lengths = {queries + 2, 150};
        c.heads = c.kv_heads = 1;
        c.d = 130;
        c.dv = 72;
        c.block = 64;
        c.spec.causal = queries % 2 == 1;
        Decoded x;
        prepare(c, x);
        decode(c, x);
        SCOPED_TRACE(queries);
        expect_near_reference(c, x);
      }
    }
  });
}

TEST(Decode, EqualsFloat64WithEveryOption) {
  on_every_isa([] {
    const auto check = [](auto&& change) {
      DecodeCase c;
      c.q_lengths = {1, 3, 8, 0, 5};
      c.k_lengths = {70, 3, 700, 9, 0};
      c.kv_heads = 1;
      change(c);
      Decoded x;
      prepare(c, x);
      decode(c, x);
      expect_near_reference(c, x);
    };
    check([](DecodeCase&) {});
    check([](DecodeCase& c) { c.spec.causal = true; });
    check([](DecodeCase& c) { c.spec.causal = true, c.spec.window_left = 20, c.type = CacheType::kInt8; });
    check([](DecodeCase& c) { c.sinks = true, c.spec.softcap = 3.0f, c.type = CacheType::kF16; });
    check([](DecodeCase& c) { c.alibi = true, c.evicted = 13, c.kv_heads = 4; });
    check([](DecodeCase& c) { c.d = 64, c.dv = 64, c.type = CacheType::kBF16; });
    check([](DecodeCase& c) { c.d = 127, c.dv = 1, c.block = 1; });
    check([](DecodeCase& c) { c.d = 1, c.dv = 33, c.block = 1000; });
  });
}

TEST(Decode, SameBitsForAnyNumberOfThreadsInAnyBatch) {
  DecodeCase c;
  c.q_lengths = {2, 1, 4};
  c.k_lengths = {1500, 30, 3000};
  Decoded x;
  prepare(c, x);
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
  for (int64_t n = 0; n < 3; ++n) {
    const int64_t begin = x.inputs.q_offsets.begin(n), end = x.inputs.q_offsets.end(n);
    Tensor alone = Tensor::zeros({end - begin, c.heads, c.dv});
    DecodeInputs inputs;
    inputs.q = view_of(x.q.rows(begin, end));
    inputs.q_offsets = Offsets::single(end - begin);
    inputs.caches = std::span<const KvCache* const>(x.pointers.data() + n, 1);
    attention_decode(inputs, c.spec, out_view(alone), nullptr);
    expect_same_bits(alone, out.rows(begin, end).clone(), "out alone");
  }
}

TEST(Decode, ObserversSeeTheWeightsAndChangeNothing) {
  DecodeCase c;
  c.q_lengths = {3, 1};
  c.k_lengths = {600, 50};
  c.sinks = true;
  c.spec.causal = true;
  Decoded x;
  prepare(c, x);
  decode(c, x);
  const Tensor out = x.out.clone();
  decode(c, x, observe::entropy | observe::max | observe::top_k(5) | observe::key_mass);
  expect_same_bits(x.out, out, "out");
  int64_t k0 = 0;
  for (int64_t n = 0; n < 2; ++n) {
    const reference::Attention r = reference_of(c, x, n);
    std::vector<double> mass(static_cast<size_t>(r.lk * c.heads));
    for (int64_t h = 0; h < c.heads; ++h) {
      for (int64_t i = 0; i < r.lq; ++i) {
        const int64_t at = (x.inputs.q_offsets.begin(n) + i) * c.heads + h;
        double entropy = 0, rest = 1, most = 0;
        for (int64_t j = 0; j < r.lk; ++j) {
          const double weight = r.weights[static_cast<size_t>((h * r.lq + i) * r.lk + j)];
          mass[static_cast<size_t>(j * c.heads + h)] += weight;
          rest -= weight;
          most = std::max(most, weight);
          if (weight > 0) entropy -= weight * std::log(weight);
        }
        if (rest > 0) entropy -= rest * std::log(rest);
        const double w = weight_tolerance(c, r);
        EXPECT_NEAR(static_cast<double>(x.seen.max_weight.data()[at]), most, w);
        EXPECT_NEAR(static_cast<double>(x.seen.top_k_weights.data()[at * 5]), most, w);
        EXPECT_EQ(x.seen.max_key.data<int64_t>()[at], x.seen.top_k_keys.data<int64_t>()[at * 5]);
        EXPECT_NEAR(static_cast<double>(x.seen.entropy.data()[at]), entropy,
                    20 * w);  // |ln w| + 1 <= 20 here
        const auto key = static_cast<size_t>(x.seen.top_k_keys.data<int64_t>()[at * 5 + 4]);
        EXPECT_NEAR(static_cast<double>(x.seen.top_k_weights.data()[at * 5 + 4]),
                    r.weights[static_cast<size_t>((h * r.lq + i) * r.lk) + key], w);
      }
    }
    for (size_t i = 0; i < mass.size(); ++i) {
      EXPECT_NEAR(static_cast<double>(x.seen.key_mass.data()[k0 * c.heads + static_cast<int64_t>(i)]),
                  mass[i], weight_tolerance(c, r) * static_cast<double>(r.lq));
    }
    k0 += r.lk;
  }
}

TEST(Decode, NamesWhatIsWrong) {
  DecodeCase c;
  Decoded x;
  prepare(c, x);
  c.spec.dropout = 0.5f;
  EXPECT_ERROR(decode(c, x), ArgumentError, "[attention_decode] expected no dropout, got 0.5");
  c.spec = {.score = Score::kCosine};
  EXPECT_ERROR(
      decode(c, x), ArgumentError,
      "[attention_decode] expected the score scaled_dot or dot, which reads keys as a cache holds them, got "
      "cosine");
  c.spec = {};
  const Tensor narrow = Tensor::zeros({1, 4, 8});
  x.inputs.q = view_of(narrow);
  EXPECT_ERROR(decode(c, x), ArgumentError,
               "[attention_decode] expected q and k of equal width, got 8 and 24");
  x.inputs.caches = {};
  EXPECT_ERROR(decode(c, x), ArgumentError,
               "[attention_decode] expected one cache for each of the 1 sequences, got 0");
}

template <class T>
void expect_half_equals_widened() {
  DecodeCase c;
  c.q_lengths = {2, 1};
  c.k_lengths = {40, 9};
  c.alibi = c.sinks = true;
  c.type = CacheType::kBF16;
  Decoded x;
  prepare(c, x);
  const Tensor q = x.q.to(dtype_of<T>), wide = q.to(DType::kF32);
  x.inputs.q = view_of(wide);
  decode(c, x);
  Tensor out = Tensor::zeros({3, 4, 20}, dtype_of<T>), lse = Tensor::zeros({3, 4});
  HalfDecodeInputs<T> in{contiguous_view<const T, 3>(q.data<T>(), {3, 4, 24}), x.inputs};
  in.rest.q = {};
  attention_decode(in, c.spec, contiguous_view<T, 3>(out.data<T>(), {3, 4, 20}), lse.data());
  expect_same_bits(out, x.out.to(dtype_of<T>), "out");
  expect_same_bits(lse, x.lse, "lse");
  EXPECT_ERROR(attention_decode(in, c.spec, contiguous_view<T, 3>(out.data<T>(), {3, 2, 20}), lse.data()),
               ArgumentError,
               "[attention_decode] expected out [3, 4, Dv] with an innermost stride of 1, got [3, 2, 20]");
}

TEST(Decode, RowsAreTheWeightsOfWhatTheCacheHolds) {
  for (const CacheType type : {CacheType::kF32, CacheType::kBF16, CacheType::kInt8}) {
    DecodeCase c;
    c.q_lengths = {2, 0, 3};
    c.k_lengths = {40, 7, 130};
    c.evicted = 5;
    c.type = type;
    c.spec.causal = true;
    c.spec.softcap = 2.0f;
    c.alibi = c.sinks = true;
    Decoded x;
    prepare(c, x);
    decode(c, x);
    const std::vector<int64_t> queries{4, 0, 2, 4};
    const std::vector<std::pair<int64_t, int64_t>> places{{2, 2}, {0, 0}, {2, 0}, {2, 2}};
    const Ragged rows = attention_decode_rows(x.inputs, c.spec, x.lse.data(), queries);
    ASSERT_EQ(rows.offsets.count(), 4);
    for (size_t row = 0; row < queries.size(); ++row) {
      const auto [n, i] = places[row];
      const reference::Attention want = reference_of(c, x, n);
      ASSERT_EQ(rows.offsets.length(static_cast<int64_t>(row)), want.lk);
      for (int64_t j = 0; j < want.lk; ++j) {
        for (int64_t h = 0; h < c.heads; ++h) {
          const double got = static_cast<double>(
              rows.tokens.data()[(rows.offsets.begin(static_cast<int64_t>(row)) + j) * c.heads + h]);
          // Weights from an lse below 8 that is off by a few rounding errors of its size: 64ε.
          EXPECT_NEAR(got, want.weights[static_cast<size_t>((h * want.lq + i) * want.lk + j)], 64 * kEps)
              << row << ' ' << h << ' ' << j;
        }
      }
    }
    const std::vector<int64_t> outside{5};
    EXPECT_ERROR(attention_decode_rows(x.inputs, c.spec, x.lse.data(), outside), ArgumentError,
                 "[attention_decode_rows] expected queries in [0, 5), got 5");
  }
}

TEST(Decode, HalfQueriesAreWidenedAndRoundedOnce) {
  expect_half_equals_widened<BFloat16>();
  expect_half_equals_widened<Float16>();
}

}  // namespace
}  // namespace fovea::testing
