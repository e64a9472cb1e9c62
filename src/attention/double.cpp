#include "fovea/attention/double.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "attention/double_call.hpp"
#include "attention/double_observe.hpp"
#include "attention/fused.hpp"
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

}  // namespace

void attention_forward(const DoubleAttentionInputs& in, const AttentionSpec& spec, HeadsView<double> out,
                       double* lse, const Observers& observers, Insight* seen) {
  const char* name = "attention_forward";
  const DoubleCall call(name, in, spec);
  check_heads(name, "out", out, in.q.dim(0), call.r.heads, call.r.dv);
  check_observers(name, observers, in.k.dim(0), seen);
  if (seen != nullptr) prepare_double_insight(call, observers, *seen);
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
    const DoubleCall::Softmax softmax = call.softmax(h, keys, logit);
    lse[t * call.r.heads + h] = softmax.lse();
    if (softmax.max == -kInfinity) return;
    for (int64_t j = keys.lo; j < keys.hi; ++j) {
      if (logit[j] == -kInfinity) continue;
      const double weight = softmax.weight(logit[j]) * call.keep(n, h, i, j);
      const double* v = row_of(in.v, in.rest.k_offsets, n, j, h / call.r.group);
      for (int64_t c = 0; c < call.r.dv; ++c) o[c] += weight * v[c];
    }
    if (observers.any()) look_at(call, {n, h, i, t}, keys, logit, softmax, observers, *seen);
  });
  if (observers.key_mass || observers.block_mass) add_masses(call, lse, observers, *seen);
}

Ragged attention_rows(const DoubleAttentionInputs& in, const AttentionSpec& spec,
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
          call.row(n, h, i, memory.data(), logit);
          const auto keys = call.keys(n, i);
          const DoubleCall::Softmax softmax = call.softmax(h, keys, logit);
          if (softmax.max == -kInfinity) continue;
          for (int64_t j = keys.lo; j < keys.hi; ++j)
            to[(rows.offsets.begin(row) + j) * heads + h] = softmax.weight(logit[j]);
        }
      });
    }
  });
  return rows;
}

}  // namespace fovea
