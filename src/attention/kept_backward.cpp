// Gradients through the kept keys alone. Rows first, each on its own: dq, and what each pair gives; then, key
// by key in the order of the queries, dk and dv; then the parameters, head by head. No sum depends on
// threads.
#include <cmath>
#include <limits>

#include "attention/kept.hpp"
#include "attention/schedule.hpp"
#include "attention/sequence.hpp"

namespace fovea {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// What the pairs of a kept row give, beside each other for all rows.
struct Pairs {
  KeptLists lists;
  Buffer<float> value;          // weight after dropout: dv += value·dout
  Buffer<float> score;          // dk += score·q
  Buffer<float> logit;          // of biases; empty when no bias wants a gradient
  Buffer<float> scales, sinks;  // [T, H]: the row's share of dscales and dsinks
};

bool of_logits(const AttentionGradients& g) {
  return g.dbias.data != nullptr || g.dtable != nullptr || g.dslopes != nullptr;
}

Pairs compute_rows(const AttentionInputs& in, const Resolved& r, HeadsView<const float> dout,
                   const float* dlse, const AttentionGradients& g) {
  Pairs pairs;
  pairs.lists = KeptLists(in, r);
  const size_t size = pairs.lists.keys.size(), rows = static_cast<size_t>(in.q_offsets.total() * r.heads);
  pairs.value = Buffer<float>(size);
  pairs.score = Buffer<float>(size);
  if (of_logits(g)) pairs.logit = Buffer<float>(size);
  if (g.dscales != nullptr) pairs.scales = Buffer<float>(rows);
  if (g.dsinks != nullptr) pairs.sinks = Buffer<float>(rows);
  const auto use = [&](const KeptRow& row) {
    const int64_t t = in.q_offsets.begin(row.n) + row.i, group = row.h / r.group;
    const size_t at = pairs.lists.at(t, row.h), place = static_cast<size_t>(t * r.heads + row.h);
    pairs.lists.set(in, row);
    const float* go = row_of(dout, in.q_offsets, row.n, row.i, row.h);
    float *dp = row.room, delta = row.spoilt ? kNaN : dlse == nullptr ? 0.0f : -dlse[place];
    for (int64_t s = 0; s < row.count; ++s) {
      const KeptKey& kept = row.kept[s];
      const float keep = dropout_factor(in, r, row.n, row.h, row.i, kept.key);
      // A dropped key's value is not read, so that what it holds does not matter, as in forward.
      dp[s] =
          keep == 0.0f ? 0.0f : keep * kept_dot(go, row_of(in.v, in.k_offsets, row.n, kept.key, group), r.dv);
      delta += kept.weight * dp[s];
      pairs.value[at + static_cast<size_t>(s)] = row.spoilt ? kNaN : kept.weight * keep;
    }
    float* dq = row_of(g.dq, in.q_offsets, row.n, row.i, row.h);
    if (dq != nullptr) std::fill_n(dq, r.d, row.spoilt ? kNaN : 0.0f);
    float of_scale = 0;
    for (int64_t s = 0; s < row.count; ++s) {
      const KeptKey& kept = row.kept[s];
      const float ds = kept.weight * (dp[s] - delta), scaled = ds * kept.slope;
      if (pairs.logit.size() > 0) pairs.logit[at + static_cast<size_t>(s)] = ds;
      const float score = pairs.score[at + static_cast<size_t>(s)] = scaled * r.scale_of(row.h);
      of_scale += scaled * kept.raw;
      if (dq != nullptr)
        kept_add_row(r, dq, score, row_of(in.k, in.k_offsets, row.n, kept.key, group),
                     row_of(in.q, in.q_offsets, row.n, row.i, row.h));
    }
    if (g.dscales != nullptr) pairs.scales[place] = of_scale;
    // A sink is a key whose value is 0.
    if (g.dsinks != nullptr) pairs.sinks[place] = -std::exp((r.sinks[row.h] - row.max) - row.log_sum) * delta;
  };
  for_kept_rows(
      in, r, [](const RowChunk&) { return true; }, use);
  return pairs;
}

// dk and dv of the keys [item.begin, item.end) of one key head: a pass over the lists of its queries.
void add_keys(const AttentionInputs& in, const Resolved& r, const Pairs& pairs, HeadsView<const float> dout,
              const AttentionGradients& g, const Item& item) {
  const int64_t n = item.sequence;
  for (int64_t j = item.begin; j < item.end; ++j) {
    if (g.dk.data != nullptr) std::fill_n(row_of(g.dk, in.k_offsets, n, j, item.head), r.d, 0.0f);
    if (g.dv.data != nullptr) std::fill_n(row_of(g.dv, in.k_offsets, n, j, item.head), r.dv, 0.0f);
  }
  for (int64_t h = item.head * r.group; h < (item.head + 1) * r.group; ++h) {
    for (int64_t i = 0; i < in.q_offsets.length(n); ++i) {
      const size_t at = pairs.lists.at(in.q_offsets.begin(n) + i, h);
      for (size_t s = at; s < at + static_cast<size_t>(pairs.lists.k); ++s) {
        const int64_t j = pairs.lists.keys[s];
        if (j < 0) break;
        if (j < item.begin || j >= item.end) continue;
        if (g.dk.data != nullptr)
          kept_add_row(r, row_of(g.dk, in.k_offsets, n, j, item.head), pairs.score[s],
                       row_of(in.q, in.q_offsets, n, i, h), row_of(in.k, in.k_offsets, n, j, item.head));
        if (g.dv.data != nullptr)
          kept_add(row_of(g.dv, in.k_offsets, n, j, item.head), pairs.value[s],
                   row_of(dout, in.q_offsets, n, i, h), r.dv);
      }
    }
  }
}

// Calls use(n, i, j, e, ds) for the kept pairs of a head, in order; e = i' − j.
template <class Use>
void for_pairs(const AttentionInputs& in, const Pairs& pairs, int64_t h, const Use& use) {
  for_tokens(in.q_offsets, 0, in.q_offsets.total(), [&](int64_t n, int64_t i, int64_t t) {
    const size_t at = pairs.lists.at(t, h);
    const int64_t position = i + in.k_offsets.length(n) - in.q_offsets.length(n);
    for (size_t s = at; s < at + static_cast<size_t>(pairs.lists.k) && pairs.lists.keys[s] >= 0; ++s) {
      const int64_t j = pairs.lists.keys[s];
      use(n, i, j, position - j, pairs.logit[s]);
    }
  });
}

void add_bias(const AttentionInputs& in, const Pairs& pairs, const ScoresView<float>& dbias, int64_t h) {
  for_pairs(in, pairs, h, [&](int64_t n, int64_t i, int64_t j, int64_t, float ds) {
    scores_of(dbias, n, h)[i * dbias.stride(2) + j * dbias.stride(3)] += ds;
  });
}

void add_parameters(const AttentionInputs& in, const Resolved& r, const Pairs& pairs,
                    const AttentionGradients& g) {
  const bool distance = g.dtable != nullptr || g.dslopes != nullptr;
  const bool shared_bias = g.dbias.data != nullptr && g.dbias.stride(1) == 0;
  Buffer<float> ddistance(distance ? static_cast<size_t>(r.heads * r.distance_span) : 0);
  std::fill_n(ddistance.data(), ddistance.size(), 0.0f);
  parallel_for(r.heads, 1, [&](int64_t first, int64_t last) {
    for (int64_t h = first; h < last; ++h) {
      double scales = 0, sinks = 0;
      for (int64_t t = 0; t < in.q_offsets.total(); ++t) {
        const auto row = static_cast<size_t>(t * r.heads + h);
        if (g.dscales != nullptr) scales += static_cast<double>(pairs.scales[row]);
        if (g.dsinks != nullptr) sinks += static_cast<double>(pairs.sinks[row]);
      }
      if (g.dscales != nullptr) g.dscales[h] += static_cast<float>(scales);
      if (g.dsinks != nullptr) g.dsinks[h] += static_cast<float>(sinks);
      if (distance) {
        float* to = ddistance.data() + h * r.distance_span + r.distance_zero;
        for_pairs(in, pairs, h, [to](int64_t, int64_t, int64_t, int64_t e, float ds) { to[e] += ds; });
      }
      if (g.dbias.data != nullptr && !shared_bias) add_bias(in, pairs, g.dbias, h);
    }
  });
  for (int64_t h = 0; shared_bias && h < r.heads; ++h) add_bias(in, pairs, g.dbias, h);
  if (distance) distance_gradient(in, r, ddistance.data(), g.dtable, g.dslopes);
}

}  // namespace

void kept_backward(const AttentionInputs& in, const Resolved& r, HeadsView<const float> dout,
                   const float* dlse, const AttentionGradients& g) {
  const Pairs pairs = compute_rows(in, r, dout, dlse, g);
  int64_t chunks = 0;
  for (int64_t n = 0; n < r.sequences; ++n) {
    const int64_t lk = in.k_offsets.length(n);
    chunks += (lk + chunk_of(lk) - 1) / chunk_of(lk);
  }
  Plan plan(chunks * r.kv_heads);
  for (int64_t n = 0; n < r.sequences; ++n) {
    const int64_t lk = in.k_offsets.length(n), step = chunk_of(lk);
    for (int64_t h = 0; h < r.kv_heads; ++h) {
      for (int64_t begin = 0; begin < lk; begin += step) {
        const int64_t end = std::min(lk, begin + step);
        plan.add({n, h, begin, end}, r.group * in.q_offsets.length(n) * r.top_k * (r.d + r.dv));
      }
    }
  }
  plan.run([&](const Item& item) { add_keys(in, r, pairs, dout, g, item); });
  if (of_logits(g) || g.dscales != nullptr || g.dsinks != nullptr) add_parameters(in, r, pairs, g);
}

}  // namespace fovea
