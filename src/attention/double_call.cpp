#include "attention/double_call.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "attention/score_rule.hpp"
#include "base/check.hpp"

namespace fovea {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Buffer<float> float_table(const char* call, const DoubleAttentionInputs& in) {
  const std::span<const double> table = in.relative_table;
  if (table.empty()) return {};
  const int64_t rows = in.rest.relative.buckets, heads = in.q.dim(1);
  check_argument(rows >= 1 && heads >= 1 && static_cast<int64_t>(table.size()) / rows == heads &&
                     static_cast<int64_t>(table.size()) % rows == 0,
                 call, "expected a relative table [{}, {}], got {} numbers", rows, heads, table.size());
  Buffer<float> copy(table.size());
  std::transform(table.begin(), table.end(), copy.data(), [](double x) { return static_cast<float>(x); });
  return copy;
}

// The call as the checks of the float32 one read it: addresses are only compared with null there.
AttentionInputs shapes_of(const DoubleAttentionInputs& in, const Buffer<float>& table) {
  AttentionInputs shapes = in.rest;
  const auto heads = [](const HeadsView<const double>& x) {
    return HeadsView<const float>(reinterpret_cast<const float*>(x.data), x.dims, x.strides,
                                  x.sequence_stride);
  };
  const auto row = [](std::span<const double> x) {
    return std::span<const float>(reinterpret_cast<const float*>(x.data()), x.size());
  };
  shapes.q = heads(in.q);
  shapes.k = heads(in.k);
  shapes.v = heads(in.v);
  shapes.sinks = row(in.sinks);
  shapes.bias = {reinterpret_cast<const float*>(in.bias.data), in.bias.dims, in.bias.strides};
  // Resolving would read these as float32: they are checked here.
  shapes.alibi_slopes = {};
  shapes.scales = {};
  if (table.size() > 0) shapes.relative.table = table.data();
  return shapes;
}

}  // namespace

DoubleCall::DoubleCall(const char* call, const DoubleAttentionInputs& inputs, const AttentionSpec& spec)
    : in(inputs),
      operands{spec.score, inputs.q, inputs.k, inputs.rest.q_offsets, inputs.rest.k_offsets},
      softcap(inputs.softcap),
      table_(float_table(call, inputs)),
      shapes_(shapes_of(inputs, table_)) {
  AttentionSpec plain = spec;
  plain.scale.reset();
  plain.softcap = 0.0f;
  r = resolve(call, shapes_, plain);
  const auto heads = static_cast<size_t>(in.q.dim(1));
  check_argument(in.alibi_slopes.empty() || in.alibi_slopes.size() == heads, call,
                 "expected one ALiBi slope for each of the {} heads, got {}", heads, in.alibi_slopes.size());
  check_argument(in.scales.empty() || in.scales.size() == heads, call,
                 "expected one scale for each of the {} heads, got {}", heads, in.scales.size());
  check_argument(in.scales.empty() || !in.scale, call,
                 "expected either a scale for each head or one for all, got both");
  check_argument(!in.scale || std::isfinite(*in.scale), call, "expected a finite scale, got {}",
                 in.scale.value_or(0.0));
  check_argument(std::isfinite(softcap) && softcap >= 0, call, "expected softcap >= 0, got {}", softcap);
  scale_ = in.scale.value_or(usual_scale(spec.score, in.q.dim(2)));
  zero_sink_ = spec.normalizer == Normalizer::kSoftmaxOne;
  rows = make_rows(operands);
}

double DoubleCall::sink_of(int64_t h) const {
  if (!is_scored(h)) return -kInfinity;
  if (zero_sink_) return 0.0;
  return in.sinks.empty() ? -kInfinity : in.sinks[static_cast<size_t>(h)];
}

double DoubleCall::bias(int64_t n, int64_t h, int64_t i, int64_t j) const {
  const double* full = scores_of(in.bias, n, h);
  double sum = full == nullptr ? 0.0 : full[i * in.bias.stride(2) + j * in.bias.stride(3)];
  if (sum == -kInfinity) return sum;
  const int64_t e = i + in.rest.k_offsets.length(n) - in.rest.q_offsets.length(n) - j;
  if (!in.alibi_slopes.empty())
    sum -= in.alibi_slopes[static_cast<size_t>(h)] * static_cast<double>(std::abs(e));
  if (has_table()) {
    const auto at = static_cast<size_t>(relative_row(in.rest.relative, -e) * in.q.dim(1) + h);
    sum +=
        in.relative_table.empty() ? static_cast<double>(in.rest.relative.table[at]) : in.relative_table[at];
  }
  return sum;
}

bool DoubleCall::is_scored(int64_t h) const {
  const HeadOverride what = r.override_of(h);
  return what == HeadOverride::kNone || what == HeadOverride::kPermuted;
}

bool DoubleCall::allowed(int64_t n, int64_t h, int64_t i, int64_t j) const {
  if (r.override_of(h) == HeadOverride::kOff) return false;
  if (const uint8_t* mask = scores_of(in.rest.mask, n, h)) {
    if (mask[i * in.rest.mask.stride(2) + j * in.rest.mask.stride(3)] == 0) return false;
  }
  const BlockMask* blocks = blocks_of(shapes_, n, h);
  return blocks == nullptr || blocks->sees(i, j);
}

DoubleCall::Range DoubleCall::keys(int64_t n, int64_t i) const {
  const int64_t lq = in.rest.q_offsets.length(n), lk = in.rest.k_offsets.length(n);
  return {r.first_key(i, lq, lk), r.end_key(i, lq, lk)};
}

// Hides all but the k strongest of logit[lo … hi), ties to the lower key. A NaN is left to spoil the row.
void DoubleCall::keep_strongest(Range range, double* logit) const {
  if (range.hi - range.lo <= r.top_k) return;
  Buffer<double> strongest(static_cast<size_t>(range.hi - range.lo));
  int64_t count = 0;
  for (int64_t j = range.lo; j < range.hi; ++j) {
    if (std::isnan(logit[j])) return;
    if (logit[j] != -kInfinity) strongest[static_cast<size_t>(count++)] = logit[j];
  }
  if (count <= r.top_k) return;
  double* last = strongest.data() + r.top_k - 1;
  std::nth_element(strongest.data(), last, strongest.data() + count, std::greater<>());
  const double least = *last;
  int64_t equals = std::count(strongest.data(), last + 1, least);  // how many of the equally weak are kept
  for (int64_t j = range.lo; j < range.hi; ++j) {
    if (logit[j] < least || (logit[j] == least && equals-- <= 0)) logit[j] = -kInfinity;
  }
}

void DoubleCall::row(int64_t n, int64_t h, int64_t i, double* raw, double* logit) const {
  const double* q = row_of(rows.q, in.rest.q_offsets, n, i, h);
  const auto [lo, hi] = keys(n, i);
  for (int64_t j = lo; j < hi; ++j) {
    raw[j] = 0.0;
    logit[j] = -kInfinity;
    if (!allowed(n, h, i, j)) continue;
    if (!is_scored(h)) {
      const ScoresView<const float>& frozen = in.rest.override_heads.log_weights;
      logit[j] =
          r.override_of(h) == HeadOverride::kUniform
              ? 0.0
              : static_cast<double>(scores_of(frozen, n, h)[i * frozen.stride(2) + j * frozen.stride(3)]);
      continue;
    }
    // What a bias of −∞ hides is not read, as if a mask hid it: no NaN of a score reaches the row.
    const double added = bias(n, h, i, j);
    if (added == -kInfinity) continue;
    const int64_t scored = r.override_of(h) == HeadOverride::kPermuted ? permuted(n, j) : j;
    const double* k = row_of(rows.k, in.rest.k_offsets, n, scored, h / r.group);
    if (r.differences) raw[j] = negative_distance<double>(q, k, r.d, r.timelike);
    for (int64_t c = 0; c < r.d && !r.differences; ++c) raw[j] += q[c] * k[c];
    const double scaled = raw[j] * scale_of(h);
    logit[j] = (softcap > 0 ? softcap * std::tanh(scaled / softcap) : scaled) + added;
  }
  if (r.top_k > 0) keep_strongest({lo, hi}, logit);
}

DoubleCall::Softmax DoubleCall::softmax(int64_t h, Range range, const double* logit) const {
  const double sink = sink_of(h);
  double max = sink;
  for (int64_t j = range.lo; j < range.hi; ++j) {
    if (std::isnan(logit[j])) return {logit[j], 0.0};
    max = std::max(max, logit[j]);
  }
  if (max == -kInfinity) return {max, 0.0};
  double sum = std::exp(sink - max);
  for (int64_t j = range.lo; j < range.hi; ++j) sum += std::exp(logit[j] - max);
  return {max, std::log(sum)};
}

DoubleCall::Softmax DoubleCall::softmax(int64_t h, Range range, const double* logit, double lse) const {
  const Softmax own = softmax(h, range, logit);
  return own.lse() == lse ? own : Softmax{lse, 0.0};
}

// The same choice as the kernels make: 16 bits of the random word of (row of the packed batch, head, key).
double DoubleCall::keep(int64_t n, int64_t h, int64_t i, int64_t j) const {
  if (r.drop_below == 0) return 1.0;
  const auto row = static_cast<uint32_t>((in.rest.q_offsets.begin(n) + i) * r.heads + h);
  const uint64_t index = uint64_t{row} << 32 | static_cast<uint64_t>(j / 8);
  const uint32_t word = r.dropout_key.block(index)[static_cast<size_t>(j % 8 / 2)];
  if ((word >> (j % 2 * 16) & 0xFFFFu) < r.drop_below) return 0.0;
  return 65536.0 / static_cast<double>(65536u - r.drop_below);
}

}  // namespace fovea
