#include <algorithm>
#include <cmath>
#include <limits>

#include "attention/double_call.hpp"
#include "base/check.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

void zero(const HeadsView<double>& x, const Offsets& offsets) {
  if (x.data == nullptr) return;
  for_tokens(offsets, 0, offsets.total(), [&](int64_t n, int64_t i, int64_t) {
    for (int64_t h = 0; h < x.dim(1); ++h) std::fill_n(row_of(x, offsets, n, i, h), x.dim(2), 0.0);
  });
}

// What each sequence and head adds to parameters that they share; summed in order afterwards.
struct Shares {
  Buffer<double> slopes, sinks, scales, table;  // [N, H]; table [N, H, buckets]
  int64_t buckets = 0;

  Shares(const DoubleCall& call, const DoubleAttentionGradients& g)
      : slopes(size(call, g.dslopes)),
        sinks(size(call, g.dsinks)),
        scales(size(call, g.dscales)),
        table(size(call, g.dtable) * static_cast<size_t>(call.in.rest.relative.buckets)),
        buckets(call.in.rest.relative.buckets) {
    for (Buffer<double>* x : {&slopes, &sinks, &scales, &table}) std::fill_n(x->data(), x->size(), 0.0);
  }
  static size_t size(const DoubleCall& call, const double* wanted) {
    return wanted == nullptr ? 0 : static_cast<size_t>(call.r.sequences * call.r.heads);
  }
  void add_to(const DoubleCall& call, const DoubleAttentionGradients& g) const {
    const int64_t heads = call.r.heads;
    for (int64_t n = 0; n < call.r.sequences; ++n) {
      for (int64_t h = 0; h < heads; ++h) {
        const auto at = static_cast<size_t>(n * heads + h);
        if (g.dslopes != nullptr) g.dslopes[h] += slopes[at];
        if (g.dsinks != nullptr) g.dsinks[h] += sinks[at];
        if (g.dscales != nullptr) g.dscales[h] += scales[at];
        for (int64_t b = 0; g.dtable != nullptr && b < buckets; ++b)
          g.dtable[b * heads + h] += table[at * static_cast<size_t>(buckets) + static_cast<size_t>(b)];
      }
    }
  }
};

struct Backward {
  const DoubleCall& call;
  HeadsView<const double> out, dout;
  const double *lse, *dlse;
  const DoubleAttentionGradients& g;
  const RowGradients<double>& of_rows;
  Shares& shares;

  // One query row of head h: adds to its dq, to its keys' dk and dv, to the parameters' shares.
  void row(int64_t n, int64_t h, int64_t i, double* raw, double* logit) const {
    const DoubleAttentionInputs& in = call.in;
    const int64_t dv = call.r.dv;
    const int64_t place = (in.rest.q_offsets.begin(n) + i) * call.r.heads + h;
    if (lse[place] == -kInfinity) return;
    call.row(n, h, i, raw, logit);
    const auto keys = call.keys(n, i);
    const DoubleCall::Softmax softmax = call.softmax(h, keys, logit, lse[place]);
    const double* o = row_of(out, in.rest.q_offsets, n, i, h);
    const double* go = row_of(dout, in.rest.q_offsets, n, i, h);
    double delta = dlse == nullptr ? 0.0 : -dlse[place];
    for (int64_t c = 0; c < dv; ++c) delta += o[c] * go[c];
    const auto at = static_cast<size_t>(n * call.r.heads + h);
    if (g.dsinks != nullptr) shares.sinks[at] -= softmax.weight(call.sink_of(h)) * delta;
    for (int64_t j = keys.lo; j < keys.hi; ++j) {
      if (logit[j] == -kInfinity) continue;
      const double weight = softmax.weight(logit[j]), keep = call.keep(n, h, i, j);
      const double* v = row_of(in.v, in.rest.k_offsets, n, j, h / call.r.group);
      double* gv = row_of(g.dv, in.rest.k_offsets, n, j, h / call.r.group);
      double dp = 0;
      for (int64_t c = 0; c < dv; ++c) {
        dp += go[c] * v[c];
        if (gv != nullptr) gv[c] += weight * keep * go[c];
      }
      if (call.is_scored(h)) pair(n, h, i, j, raw[j], weight * (keep * dp - delta));
    }
  }

  // ds: the gradient of the pair's logit.
  void pair(int64_t n, int64_t h, int64_t i, int64_t j, double raw, double ds) const {
    const DoubleAttentionInputs& in = call.in;
    const auto at = static_cast<size_t>(n * call.r.heads + h);
    const int64_t e = i + in.rest.k_offsets.length(n) - in.rest.q_offsets.length(n) - j;
    if (g.dslopes != nullptr) shares.slopes[at] -= ds * static_cast<double>(std::abs(e));
    if (g.dtable != nullptr)
      shares.table[at * static_cast<size_t>(shares.buckets) +
                   static_cast<size_t>(relative_row(in.rest.relative, -e))] += ds;
    if (double* db = scores_of(g.dbias, n, h)) db[i * g.dbias.stride(2) + j * g.dbias.stride(3)] += ds;
    const double scale = call.scale_of(h);
    if (call.softcap > 0) {
      const double t = std::tanh(raw * scale / call.softcap);
      ds *= 1 - t * t;
    }
    if (g.dscales != nullptr) shares.scales[at] += ds * raw;
    const double* q = row_of(call.rows.q, in.rest.q_offsets, n, i, h);
    const double* k = row_of(call.rows.k, in.rest.k_offsets, n, j, h / call.r.group);
    double* dq = row_of(of_rows.dq, in.rest.q_offsets, n, i, h);
    double* dk = row_of(of_rows.dk, in.rest.k_offsets, n, j, h / call.r.group);
    for (int64_t c = 0; c < call.r.d; ++c) {
      if (dq != nullptr) dq[c] += ds * scale * (call.r.differences ? k[c] - q[c] : k[c]);
      if (dk != nullptr) dk[c] += ds * scale * (call.r.differences ? q[c] - k[c] : q[c]);
    }
  }
};

}  // namespace

void attention_backward(const DoubleAttentionInputs& in, const AttentionSpec& spec,
                        HeadsView<const double> out, const double* lse, HeadsView<const double> dout,
                        const DoubleAttentionGradients& g, const double* dlse) {
  const char* name = "attention_backward";
  const DoubleCall call(name, in, spec);
  const auto check = [&](const char* what, const HeadsView<const double>& x, int64_t tokens, int64_t heads,
                         int64_t width) {
    check_argument(x.dim(0) == tokens && x.dim(1) == heads && x.dim(2) == width && x.stride(2) == 1, name,
                   "expected {} [{}, {}, {}] with an innermost stride of 1, got [{}, {}, {}]", what, tokens,
                   heads, width, x.dim(0), x.dim(1), x.dim(2));
  };
  const int64_t rows = in.q.dim(0), keys = in.k.dim(0), heads = call.r.heads, width = in.q.dim(2);
  check("out", out, rows, heads, call.r.dv);
  check("dout", dout, rows, heads, call.r.dv);
  if (g.dq.data != nullptr) check("dq", g.dq, rows, heads, width);
  if (g.dk.data != nullptr) check("dk", g.dk, keys, call.r.kv_heads, width);
  if (g.dv.data != nullptr) check("dv", g.dv, keys, call.r.kv_heads, call.r.dv);
  check_argument(!call.r.overrides_with(HeadOverride::kPermuted), name,
                 "expected no permuted heads, which have no gradient");
  const bool parameters = g.dslopes != nullptr || g.dsinks != nullptr || g.dscales != nullptr ||
                          g.dtable != nullptr || g.dbias.data != nullptr;
  check_argument(!parameters || call.r.overrides.empty(), name,
                 "expected no gradients of biases, sinks or scales with overridden heads");
  check_argument(lse != nullptr || rows == 0, name,
                 "expected the lse that attention_forward wrote, got none");
  check_argument(heads == 0 || g.dsinks == nullptr || !in.sinks.empty(), name,
                 "expected no dsinks without sinks");
  check_argument(heads == 0 || g.dtable == nullptr || call.has_table(), name,
                 "expected no dtable without a relative bias");
  check_argument(g.dbias.data == nullptr || (in.bias.data != nullptr && g.dbias.dims == in.bias.dims), name,
                 "expected dbias of the bias's dimensions");
  const RowGradients<double> of_rows(call.operands, g.dq, g.dk);
  zero(of_rows.dq, in.rest.q_offsets);
  zero(of_rows.dk, in.rest.k_offsets);
  zero(g.dv, in.rest.k_offsets);
  Shares shares(call, g);
  const Backward backward{call, out, dout, lse, dlse, g, of_rows, shares};
  // Sequences and key heads are apart, unless they add to the same elements of dbias.
  const int64_t items = call.r.sequences * call.r.kv_heads;
  const bool shared_bias = g.dbias.data != nullptr && (g.dbias.stride(0) == 0 || g.dbias.stride(1) == 0);
  parallel_for(items, shared_bias ? std::max<int64_t>(1, items) : 1, [&](int64_t begin, int64_t end) {
    Buffer<double> memory(static_cast<size_t>(2 * call.longest()));
    for (int64_t item = begin; item < end; ++item) {
      const int64_t n = item / call.r.kv_heads, first = item % call.r.kv_heads * call.r.group;
      for (int64_t h = first; h < first + call.r.group; ++h) {
        for (int64_t i = 0; i < in.rest.q_offsets.length(n); ++i)
          backward.row(n, h, i, memory.data(), memory.data() + call.longest());
      }
    }
  });
  shares.add_to(call, g);
  of_rows.pull_back();
}

}  // namespace fovea
