#include "fovea/attention/double.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "attention/double_call.hpp"
#include "base/check.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

void check_heads(const char* call, const char* name, const HeadsView<const double>& x, int64_t tokens,
                 int64_t heads, int64_t width) {
  check_argument(x.dim(0) == tokens && x.dim(1) == heads && x.dim(2) == width && x.stride(2) == 1, call,
                 "expected {} [{}, {}, {}] with an innermost stride of 1, got [{}, {}, {}]", name, tokens,
                 heads, width, x.dim(0), x.dim(1), x.dim(2));
}

void prepare_insight(const DoubleAttentionInputs& in, const Observers& observers, Insight& seen) {
  const int64_t rows = in.q.dim(0), heads = in.q.dim(1);
  if (observers.entropy) seen.entropy = Tensor::zeros({rows, heads}, DType::kF64);
  if (observers.max) {
    seen.max_weight = Tensor::zeros({rows, heads}, DType::kF64);
    seen.max_key = Tensor::full({rows, heads}, -1, DType::kI64);
  }
  if (observers.top_k > 0) {
    seen.top_k_keys = Tensor::full({rows, heads, observers.top_k}, -1, DType::kI64);
    seen.top_k_weights = Tensor::zeros({rows, heads, observers.top_k}, DType::kF64);
  }
  if (observers.key_mass) seen.key_mass = Tensor::zeros({in.k.dim(0), heads}, DType::kF64);
}

// Puts key j into the row's k strongest, which are in order; a later equal one goes behind.
void offer(int64_t j, double weight, int64_t k, int64_t* keys, double* weights) {
  if (keys[k - 1] >= 0 && weights[k - 1] >= weight) return;
  int64_t at = k - 1;
  for (; at > 0 && (keys[at - 1] < 0 || weights[at - 1] < weight); --at) {
    keys[at] = keys[at - 1];
    weights[at] = weights[at - 1];
  }
  keys[at] = j;
  weights[at] = weight;
}

// Entropy, maximum and top-k of one row of weights; `at` is its row in the statistics.
void look_at(const DoubleCall& call, int64_t h, DoubleCall::Range keys, const double* logit, double lse,
             const Observers& observers, int64_t at, Insight& seen) {
  double entropy = 0, largest = 0;
  int64_t strongest = -1;
  const auto surprise = [lse](double s) { return std::exp(s - lse) * (lse - s); };
  if (call.sink_of(h) > -kInfinity) entropy += surprise(call.sink_of(h));
  for (int64_t j = keys.lo; j < keys.hi; ++j) {
    if (logit[j] == -kInfinity) continue;
    const double weight = std::exp(logit[j] - lse);
    entropy += surprise(logit[j]);
    if (strongest < 0 || weight > largest) {
      largest = weight;
      strongest = j;
    }
    if (observers.top_k > 0) {
      offer(j, weight, observers.top_k, seen.top_k_keys.data<int64_t>() + at * observers.top_k,
            seen.top_k_weights.data<double>() + at * observers.top_k);
    }
  }
  if (observers.entropy) seen.entropy.data<double>()[at] = entropy;
  if (observers.max) {
    seen.max_weight.data<double>()[at] = largest;
    seen.max_key.data<int64_t>()[at] = strongest;
  }
}

// Calls use(n, h, i, t, raw, logit) for each row of the call, t its packed token, in parallel.
template <class Use>
void for_rows(const DoubleCall& call, const Use& use) {
  const int64_t heads = call.r.heads;
  const auto& offsets = call.in.rest.q_offsets;
  parallel_for(offsets.total() * heads, 8, [&](int64_t begin, int64_t end) {
    Buffer<double> memory(static_cast<size_t>(2 * call.longest()));
    for (int64_t item = begin; item < end; ++item) {
      const int64_t t = item / heads, h = item % heads;
      for_tokens(offsets, t, t + 1, [&](int64_t n, int64_t i, int64_t) {
        use(n, h, i, t, memory.data(), memory.data() + call.longest());
      });
    }
  });
}

// A second pass, key by key of one head and sequence: rows are added in order.
void add_key_mass(const DoubleCall& call, const double* lse, Tensor& mass) {
  const int64_t heads = call.r.heads;
  parallel_for(call.r.sequences * heads, 1, [&](int64_t begin, int64_t end) {
    Buffer<double> memory(static_cast<size_t>(2 * call.longest()));
    double* logit = memory.data() + call.longest();
    for (int64_t item = begin; item < end; ++item) {
      const int64_t n = item / heads, h = item % heads;
      const int64_t q0 = call.in.rest.q_offsets.begin(n), k0 = call.in.rest.k_offsets.begin(n);
      for (int64_t i = 0; i < call.in.rest.q_offsets.length(n); ++i) {
        const double log_sum = lse[(q0 + i) * heads + h];
        if (log_sum == -kInfinity) continue;
        call.row(n, h, i, memory.data(), logit);
        const auto [lo, hi] = call.keys(n, i);
        for (int64_t j = lo; j < hi; ++j)
          mass.data<double>()[(k0 + j) * heads + h] += std::exp(logit[j] - log_sum);
      }
    }
  });
}

}  // namespace

void attention_forward(const DoubleAttentionInputs& in, const AttentionSpec& spec, HeadsView<double> out,
                       double* lse, const Observers& observers, Insight* seen) {
  const char* name = "attention_forward";
  const DoubleCall call(name, in, spec);
  check_heads(name, "out", out, in.q.dim(0), call.r.heads, call.r.dv);
  check_argument(observers.top_k >= 0 && observers.top_k <= 64, name, "expected top_k in [0, 64], got {}",
                 observers.top_k);
  check_argument(!observers.any() || seen != nullptr, name,
                 "expected an Insight to fill, since the observers ask for something");
  check_argument(!observers.weights(), name,
                 "expected observers among entropy, max, top_k and key_mass in float64, got another");
  if (seen != nullptr) prepare_insight(in, observers, *seen);
  Buffer<double> own_lse;
  if (lse == nullptr) {
    own_lse = Buffer<double>(static_cast<size_t>(in.q.dim(0) * call.r.heads));
    lse = own_lse.data();
  }
  for_rows(call, [&](int64_t n, int64_t h, int64_t i, int64_t t, double* raw, double* logit) {
    call.row(n, h, i, raw, logit);
    const auto keys = call.keys(n, i);
    double* o = row_of(out, in.rest.q_offsets, n, i, h);
    std::fill_n(o, call.r.dv, 0.0);
    const double log_sum = lse[t * call.r.heads + h] = call.log_sum(h, keys, logit);
    if (log_sum == -kInfinity) return;
    for (int64_t j = keys.lo; j < keys.hi; ++j) {
      if (logit[j] == -kInfinity) continue;
      const double weight = std::exp(logit[j] - log_sum) * call.keep(n, h, i, j);
      const double* v = row_of(in.v, in.rest.k_offsets, n, j, h / call.r.group);
      for (int64_t c = 0; c < call.r.dv; ++c) o[c] += weight * v[c];
    }
    if (observers.entropy || observers.max || observers.top_k > 0)
      look_at(call, h, keys, logit, log_sum, observers, t * call.r.heads + h, *seen);
  });
  if (observers.key_mass) add_key_mass(call, lse, seen->key_mass);
}

Ragged attention_rows(const DoubleAttentionInputs& in, const AttentionSpec& spec, const double* lse,
                      std::span<const int64_t> queries) {
  const DoubleCall call("attention_rows", in, spec);
  std::vector<int64_t> lengths;
  for (const int64_t t : queries) {
    check_argument(t >= 0 && t < in.rest.q_offsets.total(), "attention_rows",
                   "expected queries in [0, {}), got {}", in.rest.q_offsets.total(), t);
    for_tokens(in.rest.q_offsets, t, t + 1,
               [&](int64_t n, int64_t, int64_t) { lengths.push_back(in.rest.k_offsets.length(n)); });
  }
  Ragged rows{Tensor(), Offsets::from_lengths(lengths)};
  const int64_t heads = call.r.heads;
  rows.tokens = Tensor::zeros({rows.offsets.total(), heads}, DType::kF64);
  double* to = rows.tokens.data<double>();
  parallel_for(static_cast<int64_t>(queries.size()), 1, [&](int64_t begin, int64_t end) {
    Buffer<double> memory(static_cast<size_t>(2 * call.longest()));
    double* logit = memory.data() + call.longest();
    for (int64_t row = begin; row < end; ++row) {
      const int64_t t = queries[static_cast<size_t>(row)];
      for_tokens(in.rest.q_offsets, t, t + 1, [&](int64_t n, int64_t i, int64_t) {
        for (int64_t h = 0; h < heads; ++h) {
          if (lse[t * heads + h] == -kInfinity) continue;
          call.row(n, h, i, memory.data(), logit);
          const auto [lo, hi] = call.keys(n, i);
          for (int64_t j = lo; j < hi; ++j)
            to[(rows.offsets.begin(row) + j) * heads + h] = std::exp(logit[j] - lse[t * heads + h]);
        }
      });
    }
  });
  return rows;
}

}  // namespace fovea
