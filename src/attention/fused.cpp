#include "attention/fused.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "attention/plain.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea {
namespace {

bool kept(const Resolved& r, int64_t row, int64_t j) {
  if (r.drop_below == 0) return true;
  const uint64_t index = static_cast<uint64_t>(row) << 32 | static_cast<uint64_t>(j / 8);
  const uint32_t word = r.dropout_key.block(index)[static_cast<size_t>(j % 8 / 2)];
  return (word >> (j % 2 * 16) & 0xFFFFu) >= r.drop_below;
}

}  // namespace

void fused_forward(const AttentionInputs& in, const Resolved& r, HeadsView<float> out, float* lse, const Observers&,
                   Insight*) {
  parallel_tasks(r.sequences * r.heads, true, [&](int64_t task) {
    const int64_t n = task / r.heads, h = task % r.heads;
    const int64_t lq = in.q_offsets.length(n), lk = in.k_offsets.length(n);
    std::vector<double> weights(static_cast<size_t>(lk)), sum(static_cast<size_t>(r.dv));
    for (int64_t i = 0; i < lq; ++i) {
      const int64_t t = in.q_offsets.begin(n) + i;
      const double log_sum = plain_weights(in, r, n, h, i, nullptr, weights.data());
      if (lse != nullptr) lse[t * r.heads + h] = static_cast<float>(log_sum);
      std::fill(sum.begin(), sum.end(), 0.0);
      for (int64_t j = r.first_key(i, lq, lk); j < r.end_key(i, lq, lk); ++j) {
        if (!kept(r, t * r.heads + h, j)) continue;
        const float* v = in.v.data + (in.k_offsets.begin(n) + j) * in.v.stride(0) + h / r.group * in.v.stride(1);
        for (int64_t c = 0; c < r.dv; ++c) {
          sum[static_cast<size_t>(c)] += weights[static_cast<size_t>(j)] * static_cast<double>(r.keep_scale) * static_cast<double>(v[c]);
        }
      }
      float* o = out.data + t * out.stride(0) + h * out.stride(1);
      for (int64_t c = 0; c < r.dv; ++c) o[c] = static_cast<float>(sum[static_cast<size_t>(c)]);
    }
  });
}

void fused_backward(const AttentionInputs& in, const Resolved& r, HeadsView<const float> out, const float* lse,
                    HeadsView<const float> dout, const AttentionGradients& g) {
  const auto at = [&](const auto& x, int64_t t, int64_t h) { return x.data + t * x.stride(0) + h * x.stride(1); };
  Buffer<float> ddistance(static_cast<size_t>(r.heads * r.distance_span));
  std::fill(ddistance.data(), ddistance.data() + ddistance.size(), 0.0f);
  for (int64_t n = 0; n < r.sequences; ++n) {
    const int64_t lq = in.q_offsets.length(n), lk = in.k_offsets.length(n);
    const int64_t q0 = in.q_offsets.begin(n), k0 = in.k_offsets.begin(n);
    std::vector<double> weights(static_cast<size_t>(lk));
    for (int64_t j = 0; j < lk; ++j) {
      for (int64_t h = 0; h < r.kv_heads; ++h) {
        if (g.dk.data != nullptr) std::fill_n(at(g.dk, k0 + j, h), r.d, 0.0f);
        if (g.dv.data != nullptr) std::fill_n(at(g.dv, k0 + j, h), r.dv, 0.0f);
      }
    }
    for (int64_t h = 0; h < r.heads; ++h) {
      for (int64_t i = 0; i < lq; ++i) {
        const int64_t t = q0 + i;
        const float* o = at(out, t, h);
        const float* d_o = at(dout, t, h);
        const float* q = at(in.q, t, h);
        if (g.dq.data != nullptr) std::fill_n(at(g.dq, t, h), r.d, 0.0f);
        plain_weights(in, r, n, h, i, lse + t * r.heads + h, weights.data());
        double delta = 0;
        for (int64_t c = 0; c < r.dv; ++c) delta += static_cast<double>(o[c]) * static_cast<double>(d_o[c]);
        if (g.dsinks != nullptr) {
          g.dsinks[h] -= static_cast<float>(delta * std::exp(static_cast<double>(in.sinks[static_cast<size_t>(h)] - lse[t * r.heads + h])));
        }
        for (int64_t j = r.first_key(i, lq, lk); j < r.end_key(i, lq, lk); ++j) {
          const double w = weights[static_cast<size_t>(j)];
          const double keep = kept(r, t * r.heads + h, j) ? static_cast<double>(r.keep_scale) : 0.0;
          const float* v = at(in.v, k0 + j, h / r.group);
          const float* k = at(in.k, k0 + j, h / r.group);
          double dp = 0, s = 0;
          for (int64_t c = 0; c < r.dv; ++c) dp += static_cast<double>(v[c]) * static_cast<double>(d_o[c]);
          if (g.dv.data != nullptr) {
            for (int64_t c = 0; c < r.dv; ++c) at(g.dv, k0 + j, h / r.group)[c] += static_cast<float>(w * keep) * d_o[c];
          }
          double ds = w * (dp * keep - delta);
          if (r.has_distance()) ddistance[static_cast<size_t>(h * r.distance_span + r.distance_zero + i + lk - lq - j)] += static_cast<float>(ds);
          if (r.softcap > 0) {
            for (int64_t c = 0; c < r.d; ++c) s += static_cast<double>(q[c]) * static_cast<double>(k[c]);
            const double tanh = std::tanh(s * static_cast<double>(r.scale / r.softcap));
            ds *= 1 - tanh * tanh;
          }
          const auto f = static_cast<float>(ds * static_cast<double>(r.scale));
          for (int64_t c = 0; c < r.d; ++c) {
            if (g.dq.data != nullptr) at(g.dq, t, h)[c] += f * k[c];
            if (g.dk.data != nullptr) at(g.dk, k0 + j, h / r.group)[c] += f * q[c];
          }
        }
      }
    }
  }
  if (r.has_distance()) distance_gradient(in, r, ddistance.data(), g.dtable, g.dslopes);
}

}  // namespace fovea
