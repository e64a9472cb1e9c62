#include "fovea/attention/merge.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "attention/fused.hpp"
#include "attention/merge.hpp"
#include "attention/saved_rows.hpp"
#include "attention/score.hpp"
#include "attention/sequence.hpp"
#include "base/check.hpp"
#include "kernels/attention_units.hpp"

namespace fovea {
namespace {

void check_parts(const AttentionResult& into, const AttentionResult& part) {
  const auto same = [](const char* what, const Tensor& a, const Tensor& b) {
    const bool both = a.defined() == b.defined();
    check_argument(both && (!a.defined() || a.shape() == b.shape()), "merge",
                   "expected parts with {} of equal shape, got {} and {}", what,
                   a.defined() ? to_string(a.shape()) : "none", b.defined() ? to_string(b.shape()) : "none");
  };
  const auto none = [](const char* what, const Tensor& a, const char* instead) {
    check_argument(!a.defined(), "merge", "expected parts without {}, {}", what, instead);
  };
  same("out", into.out, part.out);
  same("lse", into.lse, part.lse);
  for (const Insight* seen : {&into.seen, &part.seen}) {
    none("key_mass", seen->key_mass, "which takes the lse of all parts: attention_key_mass");
    none("block_mass", seen->block_mass, "whose blocks of keys differ from the whole's");
    none("distance", seen->expected_distance, "which do not know a key's place in the whole");
    none("first_key", seen->first_key_mass, "whose first keys differ from the whole's");
    none("near", seen->near_mass, "which do not know a key's place in the whole");
  }
  same("entropy", into.seen.entropy, part.seen.entropy);
  same("max", into.seen.max_weight, part.seen.max_weight);
  same("top_k", into.seen.top_k_weights, part.seen.top_k_weights);
  same("effective_keys", into.seen.effective_keys, part.seen.effective_keys);
  same("key_sets", into.seen.set_mass, part.seen.set_mass);
}

// A row of a part: its share of the whole, and its statistics' places.
struct Side {
  float share;     // of its weights in the whole's
  float log_less;  // −ln share
  int64_t shift;   // added to the indices of keys
};

// Entropy of a share of the whole: Σ −wp·ln(wp).
float entropy_of(const Side& s, float entropy) {
  return s.share == 0 ? 0.0f : s.share * (entropy + s.log_less);
}

void merge_max(float& weight, int64_t& key, const Side& a, float part_weight, int64_t part_key,
               const Side& b) {
  weight *= a.share;
  if (part_key < 0) return;
  const float other = part_weight * b.share;
  const int64_t place = part_key + b.shift;
  if (key < 0 || other > weight || (other == weight && place < key)) {
    weight = other;
    key = place;
  }
}

void merge_top(int64_t k, float* weights, int64_t* keys, const Side& a, const float* part_weights,
               const int64_t* part_keys, const Side& b) {
  std::vector<std::pair<float, int64_t>> all;
  for (int64_t s = 0; s < k && keys[s] >= 0; ++s) all.emplace_back(weights[s] * a.share, keys[s]);
  for (int64_t s = 0; s < k && part_keys[s] >= 0; ++s)
    all.emplace_back(part_weights[s] * b.share, part_keys[s] + b.shift);
  std::sort(all.begin(), all.end(), [](const auto& x, const auto& y) {
    return x.first != y.first ? x.first > y.first : x.second < y.second;
  });
  for (int64_t s = 0; s < k && s < static_cast<int64_t>(all.size()); ++s) {
    weights[s] = all[static_cast<size_t>(s)].first;
    keys[s] = all[static_cast<size_t>(s)].second;
  }
}

float effective_of(const Side& a, float keys, const Side& b, float part_keys) {
  const auto squares = [](const Side& s, float n) { return n > 0 ? s.share * s.share / n : 0.0f; };
  const float sum = squares(a, keys) + squares(b, part_keys);
  const float held = (keys > 0 ? a.share : 0.0f) + (part_keys > 0 ? b.share : 0.0f);
  return sum > 0 ? held * held / sum : 0.0f;
}

// Of a result that knows its lse alone, as exactly as that says.
SoftmaxRow row_of(const AttentionResult& x, int64_t row) {
  if (!x.seen.softmax_rows.defined()) return softmax_row_of(x.lse.data()[row]);
  return reinterpret_cast<const SoftmaxRow*>(x.seen.softmax_rows.data())[row];
}

void make_rows_of(AttentionResult& x) {
  if (x.seen.softmax_rows.defined()) return;
  Tensor rows = Tensor::empty({x.lse.dim(0), x.lse.dim(1), 2});
  for (int64_t row = 0; row < x.lse.numel(); ++row)
    reinterpret_cast<SoftmaxRow*>(rows.data())[row] = row_of(x, row);
  x.seen.softmax_rows = std::move(rows);
}

void merge_row_of(AttentionResult& into, const AttentionResult& part, int64_t row, int64_t shift) {
  const SoftmaxRow own = row_of(into, row), other_row = row_of(part, row);
  if (other_row.empty()) return;
  const int64_t width = into.out.dim(2);
  SoftmaxRow whole = own;
  merge_row(into.out.data() + row * width, whole, part.out.data() + row * width, other_row, width);
  const auto side = [&](const SoftmaxRow& x, int64_t first_key) {
    return Side{share_of_whole(x, whole), ((whole.max - x.max) + (whole.log_sum - x.log_sum)) * kernels::kLn2,
                first_key};
  };
  const Side a = side(own, 0), b = side(other_row, shift);
  Insight& seen = into.seen;
  const Insight& other = part.seen;
  if (seen.entropy.defined())
    seen.entropy.data()[row] =
        entropy_of(a, seen.entropy.data()[row]) + entropy_of(b, other.entropy.data()[row]);
  if (seen.max_weight.defined())
    merge_max(seen.max_weight.data()[row], seen.max_key.data<int64_t>()[row], a, other.max_weight.data()[row],
              other.max_key.data<int64_t>()[row], b);
  if (seen.top_k_weights.defined()) {
    const int64_t k = seen.top_k_weights.dim(2), at = row * k;
    merge_top(k, seen.top_k_weights.data() + at, seen.top_k_keys.data<int64_t>() + at, a,
              other.top_k_weights.data() + at, other.top_k_keys.data<int64_t>() + at, b);
  }
  if (seen.effective_keys.defined())
    seen.effective_keys.data()[row] =
        effective_of(a, seen.effective_keys.data()[row], b, other.effective_keys.data()[row]);
  if (seen.set_mass.defined()) {
    const int64_t sets = seen.set_mass.dim(2);
    for (int64_t s = row * sets; s < (row + 1) * sets; ++s)
      seen.set_mass.data()[s] = a.share * seen.set_mass.data()[s] + b.share * other.set_mass.data()[s];
  }
  into.lse.data()[row] = lse_of(whole);
  reinterpret_cast<SoftmaxRow*>(into.seen.softmax_rows.data())[row] = whole;
}

}  // namespace

void merge(AttentionResult& into, const AttentionResult& part, const Offsets& q_offsets,
           std::span<const int64_t> first_key) {
  check_parts(into, part);
  check_argument(q_offsets.total() == into.lse.dim(0), "merge", "expected q_offsets of {} queries, got {}",
                 into.lse.dim(0), q_offsets.total());
  check_argument(static_cast<int64_t>(first_key.size()) == q_offsets.count(), "merge",
                 "expected the first key of each of the {} sequences, got {}", q_offsets.count(),
                 first_key.size());
  const int64_t heads = into.lse.dim(1);
  make_rows_of(into);
  for_tokens(q_offsets, 0, q_offsets.total(), [&](int64_t n, int64_t, int64_t t) {
    for (int64_t h = 0; h < heads; ++h)
      merge_row_of(into, part, t * heads + h, first_key[static_cast<size_t>(n)]);
  });
  if (into.seen.lse.defined()) into.seen.lse = into.lse;
}

void merge_sinks(AttentionResult& into, std::span<const float> sinks) {
  const int64_t rows = into.lse.dim(0), heads = into.lse.dim(1);
  check_argument(static_cast<int64_t>(sinks.size()) == heads, "merge_sinks",
                 "expected one sink for each of the {} heads, got {}", heads, sinks.size());
  // A part of one outcome without a key.
  AttentionResult part{Tensor::zeros(into.out.shape()), Tensor::empty(into.lse.shape()), {}};
  part.seen.softmax_rows = Tensor::empty({rows, heads, 2});
  for (int64_t row = 0; row < rows * heads; ++row) {
    const float sink = part.lse.data()[row] = sinks[static_cast<size_t>(row % heads)];
    reinterpret_cast<SoftmaxRow*>(part.seen.softmax_rows.data())[row] = {kernels::in_log2_units(sink), 0.0f};
  }
  const auto like = [](const Tensor& x, double value) {
    return x.defined() ? Tensor::full(x.shape(), value, x.dtype()) : Tensor();
  };
  part.seen.entropy = like(into.seen.entropy, 0);
  part.seen.max_weight = like(into.seen.max_weight, 0);
  part.seen.max_key = like(into.seen.max_key, -1);
  part.seen.top_k_weights = like(into.seen.top_k_weights, 0);
  part.seen.top_k_keys = like(into.seen.top_k_keys, -1);
  part.seen.effective_keys = like(into.seen.effective_keys, 0);
  part.seen.set_mass = like(into.seen.set_mass, 0);
  const int64_t no_shift[] = {0};
  merge(into, part, Offsets::single(rows), no_shift);
}

Tensor attention_key_mass(const AttentionInputs& given, const AttentionSpec& spec, SoftmaxInput softmax) {
  const char* call = "attention_key_mass";
  Resolved r = resolve(call, given, spec);
  check_argument(softmax.given() || given.q.dim(0) == 0, call,
                 "expected softmax rows or an lse [{}, {}], got none", given.q.dim(0), r.heads);
  check_argument(spec.top_k == 0, call, "expected no top_k, got {}", spec.top_k);
  const WithRows rows(given, spec.score);
  permute_keys(rows.inputs, r);
  Insight seen;
  prepare_insight(given, observe::key_mass, seen);
  const SavedRows saved(softmax, given.q.dim(0) * r.heads);
  fused_second_pass(rows.inputs, r, saved.data(), observe::key_mass, seen);
  return seen.key_mass;
}

}  // namespace fovea
