// Scores that are distances lose nothing to where q and k lie: against float64 from the same numbers, rows
// shifted by a common offset, or in two clusters that lie far apart.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "fovea/attention/double.hpp"
#include "fovea/attention/merge.hpp"
#include "tests/attention/decode_problem.hpp"
#include "tests/attention/distance_bound.hpp"

namespace fovea::testing {
namespace {

struct Case {
  Score score = Score::kNegSquaredL2;
  double offset = 0;
  bool clusters = false;
  int64_t width = 16, queries = 37, keys = 41, top_k = 0;

  std::string describe() const {
    return fmt::format("score {} offset {} clusters {} width {} queries {} keys {} top_k {}",
                       static_cast<int>(score), offset, clusters, width, queries, keys, top_k);
  }
};

// Calls use(case) for every score, place and width.
template <class Use>
void for_places(const Use& use) {
  for (const Score score : {Score::kNegSquaredL2, Score::kNegSquaredLorentz}) {
    for (const double offset : {0.0, 10.0, 1e3, 512695.0, 1e6}) {
      for (const bool clusters : {false, true}) {
        for (const int64_t width : {1, 3, 16, 64}) {
          const Case c{score, offset, clusters, width};
          SCOPED_TRACE(c.describe());
          use(c);
        }
      }
    }
  }
}

void shift(Tensor& x, const Case& c) {
  const int64_t row = x.numel() / x.dim(0);
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double sign = c.clusters && i / row % 2 == 1 ? -1.0 : 1.0;
    x.data()[i] = static_cast<float>(static_cast<double>(x.data()[i]) + sign * c.offset);
  }
}

Arrays arrays_of(const Case& c) {
  Problem p;
  p.q_lengths = {c.queries};
  p.k_lengths = {c.keys};
  p.heads = 2;
  p.kv_heads = 1;
  p.d = c.width;
  p.spec.score = c.score;
  p.spec.top_k = c.top_k;
  p.scales = true;
  Arrays a = make_arrays(p);
  shift(a.q, c);
  shift(a.k, c);
  for (int64_t h = 0; h < 2; ++h)
    a.scales.data()[h] = static_cast<float>(h + 1) / static_cast<float>(2 * c.width);
  return a;
}

std::vector<double> doubles(const Tensor& x) {
  std::vector<double> values;
  for (const float value : x.span()) values.push_back(static_cast<double>(value));
  return values;
}

// What the parts of t lose: 12u² to float32, and the sum |x|² in float64.
double tau_of(int64_t width) {
  return 12 * 0x1p-48 + 2 * static_cast<double>(width + 2) * 0x1p-53;
}

void expect_within(const std::vector<double>& got, const std::vector<double>& want,
                   const std::vector<double>& bound, const char* what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t i = 0; i < want.size(); ++i)
    ASSERT_LE(std::abs(got[i] - want[i]), bound[i])
        << what << "[" << i << "] " << got[i] << ", not " << want[i];
}

struct Expected {
  reference::Attention r;
  DistanceBound bound;

  explicit Expected(const Arrays& a) : r(make_reference(a, 0)) {
    const std::vector<double> dout = doubles(a.dout);
    bound.tau = tau_of(a.problem.d);
    r.forward();
    r.backward(dout);
    bound.of(r, dout);
  }
};

Insight see(const Arrays& a, const Observers& observers) {
  Tensor out = Tensor::empty({a.q_offsets.total(), a.problem.heads, a.problem.dv});
  Tensor lse = Tensor::empty({a.q_offsets.total(), a.problem.heads});
  Insight seen;
  attention_forward(a.inputs, a.problem.spec, out_view(out), lse.data(), observers, &seen);
  return seen;
}

void expect_exact(const Arrays& a) {
  const Expected e(a);
  const Results x = run_engine(a);
  expect_within(doubles(x.out), e.r.out, e.bound.out, "out");
  expect_within(doubles(x.dq), e.r.dq, e.bound.dq, "dq");
  expect_within(doubles(x.dk), e.r.dk, e.bound.dk, "dk");
  expect_within(doubles(x.dv), e.r.dv_out, e.bound.dv, "dv");
  std::vector<double> bound = e.bound.dscales;
  for (size_t h = 0; h < bound.size(); ++h) bound[h] += e.bound.u * std::abs(e.r.dscales[h]);
  expect_within(doubles(x.dscales), e.r.dscales, bound, "dscales");
}

TEST(Distances, LoseNothingToAnOffset) {
  on_every_isa([] { for_places([](const Case& c) { expect_exact(arrays_of(c)); }); });
}

TEST(Distances, LoseNothingToAnOffsetWithFewQueriesAndManyBlocks) {
  on_every_isa([] {
    for_places([](Case c) {
      for (const int64_t queries : {1, 3, 150}) {
        c.queries = queries;
        c.keys = queries == 150 ? 300 : 33;
        if (queries == 150 && (c.width == 1 || c.width == 64)) continue;
        SCOPED_TRACE(c.describe());
        expect_exact(arrays_of(c));
      }
    });
  });
}

// A key that was left out is no nearer than one that was kept, but for what scores may be off by.
void expect_nearest_kept(const Arrays& a) {
  const reference::Attention r = make_reference(a, 0);
  DistanceBound bound;
  bound.tau = tau_of(r.d);
  for (int64_t h = 0; h < r.heads; ++h) {
    for (int64_t i = 0; i < r.lq; ++i) {
      double kept = INFINITY, left = -INFINITY;
      for (int64_t j = 0; j < r.lk; ++j) {
        const double score = r.raw(h, i, j), error = bound.score(r, h, i, j).all;
        if (a.keeps(0, h, i, j)) {
          kept = std::min(kept, score + error);
        } else {
          left = std::max(left, score - error);
        }
      }
      ASSERT_LE(left, kept) << "head " << h << " query " << i;
    }
  }
}

TEST(Distances, OfTheStrongestKeysLoseNothingToAnOffset) {
  on_every_isa([] {
    for_places([](Case c) {
      c.top_k = 5;
      Arrays a = arrays_of(c);
      const Insight seen = see(a, observe::top_k(5));
      a.keeps = [keys = seen.top_k_keys](int64_t, int64_t h, int64_t i, int64_t j) {
        const int64_t* row = keys.data<int64_t>() + (i * 2 + h) * 5;
        return std::find(row, row + 5, j) != row + 5;
      };
      expect_nearest_kept(a);
      expect_exact(a);
    });
  });
}

TEST(Distances, ExactRowsAndKeyMassLoseNothingToAnOffset) {
  on_every_isa([] {
    for_places([](const Case& c) {
      const Arrays a = arrays_of(c);
      const Expected e(a);
      const Insight seen = see(a, observe::key_mass);
      std::vector<double> mass(e.bound.mass.size());
      for (int64_t h = 0; h < 2; ++h) {
        for (int64_t i = 0; i < c.queries; ++i) {
          for (int64_t j = 0; j < c.keys; ++j)
            mass[static_cast<size_t>(j * 2 + h)] +=
                e.r.weights[static_cast<size_t>((h * c.queries + i) * c.keys + j)];
        }
      }
      expect_within(doubles(seen.key_mass), mass, e.bound.mass, "key mass");
      std::vector<int64_t> queries(static_cast<size_t>(c.queries));
      std::iota(queries.begin(), queries.end(), 0);
      const std::vector<double> rows = doubles(attention_rows(a.inputs, a.problem.spec, queries).tokens);
      for (int64_t h = 0; h < 2; ++h) {
        for (int64_t i = 0; i < c.queries; ++i) {
          for (int64_t j = 0; j < c.keys; ++j) {
            const auto at = static_cast<size_t>((h * c.queries + i) * c.keys + j);
            ASSERT_LE(std::abs(rows[static_cast<size_t>((i * c.keys + j) * 2 + h)] - e.r.weights[at]),
                      e.bound.exact[at])
                << "row " << i << " key " << j << " weight " << e.r.weights[at];
          }
        }
      }
    });
  });
}

// Keys as the cache holds them. Numbers of f16 end at 65504.
TEST(Distances, OnCachesLoseNothingToAnOffset) {
  on_every_isa([] {
    for_places([](const Case& c) {
      for (const CacheType type : {CacheType::kF32, CacheType::kBF16, CacheType::kF16}) {
        if (type != CacheType::kF32 && c.offset > 1e3) continue;
        Arrays a = arrays_of(c);
        KvCache cache({1, c.width, a.problem.dv, type, 16, 0});
        cache.append(a.inputs.k, a.inputs.v);
        for (int64_t j = 0; j < c.keys; ++j)
          cache.read(j, a.k.data() + j * c.width, a.v.data() + j * a.problem.dv);
        for (float& scale : a.scales.span()) scale = 1.0f / static_cast<float>(c.width);
        const Expected e(a);
        DecodeInputs in;
        in.q = a.inputs.q;
        in.q_offsets = a.q_offsets;
        const KvCache* caches[] = {&cache};
        in.caches = caches;
        AttentionSpec spec = a.problem.spec;
        spec.scale = a.scales.data()[0];
        Tensor out = Tensor::full({c.queries, 2, a.problem.dv}, NAN);
        attention_decode(in, spec, out_view(out), nullptr);
        expect_within(doubles(out), e.r.out, e.bound.out, to_string(type));
      }
    });
  });
}

// 16-bit numbers are widened, and the result is rounded to 2⁻⁸ or 2⁻¹¹ of itself.
TEST(Distances, Of16BitNumbersLoseNothingToAnOffset) {
  for_places([](const Case& c) {
    if (c.offset > 1e3) return;
    for (const DType type : {DType::kBF16, DType::kF16}) {
      Arrays a = arrays_of(c);
      const Tensor q = a.q.to(type), k = a.k.to(type), v = a.v.to(type);
      a.q.copy_from(q.to(DType::kF32));
      a.k.copy_from(k.to(DType::kF32));
      a.v.copy_from(v.to(DType::kF32));
      for (float& scale : a.scales.span()) scale = 1.0f / static_cast<float>(c.width);
      Expected e(a);
      for (size_t i = 0; i < e.r.out.size(); ++i)
        e.bound.out[i] += (type == DType::kBF16 ? 0x1p-8 : 0x1p-11) * std::abs(e.r.out[i]) + 0x1p-24;
      AttentionSpec spec = a.problem.spec;
      spec.scale = a.scales.data()[0];
      expect_within(doubles(attention(q, k, v, spec).out.to(DType::kF32)), e.r.out, e.bound.out, "out");
    }
  });
}

HeadsView<double> heads(Tensor& x) {
  return contiguous_view<double, 3>(x.data<double>(), {x.dim(0), x.dim(1), x.dim(2)});
}

// Of numbers that float64 has room for: those of float32, shifted exactly. There t is one number, off by
// (D + 2)/2 roundings, in the reference as well.
TEST(Distances, InFloat64LoseNothingToAnOffset) {
  for_places([](const Case& c) {
    const Arrays a = arrays_of(c);
    Expected e(a);
    const std::vector<double> dout = doubles(a.dout);
    e.bound.u = 2 * 0x1p-53;
    e.bound.tau = 4 * static_cast<double>(c.width + 4) * 0x1p-53;
    e.bound.of(e.r, dout);
    Tensor q = a.q.to(DType::kF64), k = a.k.to(DType::kF64), v = a.v.to(DType::kF64),
           go = a.dout.to(DType::kF64);
    const Tensor scales = a.scales.to(DType::kF64);
    DoubleAttentionInputs in;
    in.q = heads(q);
    in.k = heads(k);
    in.v = heads(v);
    in.rest.q_offsets = a.q_offsets;
    in.rest.k_offsets = a.k_offsets;
    in.scales = scales.span<double>();
    Tensor out = Tensor::zeros(go.shape(), DType::kF64), lse = Tensor::zeros({c.queries, 2}, DType::kF64);
    attention_forward(in, a.problem.spec, heads(out), lse.data<double>());
    Tensor dq = Tensor::zeros(q.shape(), DType::kF64), dk = Tensor::zeros(k.shape(), DType::kF64),
           dv = Tensor::zeros(v.shape(), DType::kF64);
    DoubleAttentionGradients g;
    g.dq = heads(dq);
    g.dk = heads(dk);
    g.dv = heads(dv);
    attention_backward(in, a.problem.spec, heads(out), lse.data<double>(), heads(go), g);
    const auto values = [](const Tensor& x) {
      return std::vector<double>(x.data<double>(), x.data<double>() + x.numel());
    };
    expect_within(values(out), e.r.out, e.bound.out, "out");
    expect_within(values(dq), e.r.dq, e.bound.dq, "dq");
    expect_within(values(dk), e.r.dk, e.bound.dk, "dk");
    expect_within(values(dv), e.r.dv_out, e.bound.dv, "dv");
  });
}

}  // namespace
}  // namespace fovea::testing
