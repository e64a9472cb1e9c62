#include "fovea/explain/recorded_attention.hpp"

#include <algorithm>
#include <numeric>

#include "base/check.hpp"
#include "fovea/attention/attention.hpp"

namespace fovea::explain {
namespace {

constexpr std::string_view kCall = "RecordedAttention";

// [T, H, D] of any strides as [H, T, D], so that one head is one contiguous block.
Tensor heads_first(const HeadsView<const float>& x, const Offsets& offsets) {
  Tensor out = Tensor::empty({x.dim(1), x.dim(0), x.dim(2)});
  float* to = out.data();
  for (int64_t head = 0; head < x.dim(1); ++head) {
    for (int64_t n = 0; n < offsets.count(); ++n) {
      const float* first =
          x.data + (x.sequence_stride != 0 ? n * x.sequence_stride : offsets.begin(n) * x.stride(0));
      for (int64_t t = 0; t < offsets.length(n); ++t, to += x.dim(2))
        std::copy_n(first + t * x.stride(0) + head * x.stride(1), x.dim(2), to);
    }
  }
  return out;
}

HeadsView<const float> one_head(const Tensor& x, int64_t head) {
  const int64_t tokens = x.dim(1), width = x.dim(2);
  return contiguous_view<const float, 3>(x.data() + head * tokens * width, {tokens, 1, width});
}

}  // namespace

RecordedAttention::RecordedAttention(const AttentionInputs& inputs, const AttentionSpec& spec)
    : q_(heads_first(inputs.q, inputs.q_offsets)),
      k_(heads_first(inputs.k, inputs.k_offsets)),
      q_offsets_(inputs.q_offsets),
      k_offsets_(inputs.k_offsets),
      spec_(spec),
      slopes_(inputs.alibi_slopes.begin(), inputs.alibi_slopes.end()),
      sinks_(inputs.sinks.begin(), inputs.sinks.end()),
      scales_(inputs.scales.begin(), inputs.scales.end()),
      relative_(inputs.relative) {
  const int64_t count = heads();
  check_argument(
      inputs.bias.data == nullptr && inputs.mask.data == nullptr && inputs.blocks.empty() &&
          inputs.override_heads.heads.empty(),
      kCall,
      "expected a call without bias, mask, block mask and override: those arrays are not copied, and "
      "may be gone when rows are asked for");
  check_argument(k_.dim(0) > 0 && count % k_.dim(0) == 0, kCall,
                 "expected the {} key heads to divide the {} heads", k_.dim(0), count);
  spec_.dropout = 0;
  if (relative_.table != nullptr) {
    table_ = Tensor::empty({count, relative_.buckets});
    for (int64_t head = 0; head < count; ++head) {
      for (int64_t b = 0; b < relative_.buckets; ++b) {
        table_.data()[head * relative_.buckets + b] = relative_.table[b * count + head];
      }
    }
    relative_.table = nullptr;
  }
}

void RecordedAttention::rows(int64_t head, int64_t begin, int64_t end, float* out) const {
  const int64_t tokens = q_.dim(1);
  check_argument(head >= 0 && head < heads() && begin >= 0 && begin <= end && end <= tokens, kCall,
                 "expected a head below {} and queries within [0, {}), got head {} and [{}, {})", heads(),
                 tokens, head, begin, end);
  if (begin == end) return;
  AttentionInputs inputs;
  inputs.q = one_head(q_, head);
  inputs.k = one_head(k_, head / (heads() / k_.dim(0)));
  inputs.v = inputs.k;  // weights do not depend on the values
  inputs.q_offsets = q_offsets_;
  inputs.k_offsets = k_offsets_;
  if (!slopes_.empty()) inputs.alibi_slopes = {slopes_.data() + head, 1};
  if (!sinks_.empty()) inputs.sinks = {sinks_.data() + head, 1};
  if (!scales_.empty()) inputs.scales = {scales_.data() + head, 1};
  inputs.relative = relative_;
  if (table_.defined()) inputs.relative.table = table_.data() + head * relative_.buckets;
  std::vector<int64_t> queries(static_cast<size_t>(end - begin));
  std::iota(queries.begin(), queries.end(), begin);
  const Ragged weights = attention_rows(inputs, spec_, queries);
  check_argument(weights.offsets.length(0) == weights.offsets.length(end - begin - 1) &&
                     weights.offsets.total() == weights.offsets.length(0) * (end - begin),
                 kCall, "expected queries [{}, {}) of one sequence", begin, end);
  std::copy_n(weights.tokens.data(), weights.tokens.numel(), out);
}

void RecordedAttention::head_mean(int64_t query, std::span<float> out) const {
  std::vector<float> row(out.size());
  std::vector<double> sum(out.size());
  for (int64_t head = 0; head < heads(); ++head) {
    rows(head, query, query + 1, row.data());
    for (size_t k = 0; k < row.size(); ++k) sum[k] += static_cast<double>(row[k]);
  }
  for (size_t k = 0; k < sum.size(); ++k) out[k] = static_cast<float>(sum[k] / static_cast<double>(heads()));
}

}  // namespace fovea::explain
