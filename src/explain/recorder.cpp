#include "explain/recorder.hpp"

#include <algorithm>

#include "fovea/explain/rollout.hpp"

namespace fovea::explain {

void AttentionRecorder::attention(const nn::AttentionRecord& record) {
  const autograd::AttentionCall& call = record.call;
  layers_->emplace_back(call.inputs, call.spec, call.lse.span());
}

void AttentionRecorder::pooling(const nn::PoolingRecord& record) {
  pooling_.assign(record.weights.span().begin(), record.weights.span().end());
}

PageAttention AttentionRecorder::page_attention() const {
  PageAttention attention;
  if (empty()) return attention;
  attention.layers = layers();
  attention.heads = layer(0).heads();
  attention.causal =
      std::all_of(layers_->begin(), layers_->end(), [](const auto& l) { return l.spec().causal; });
  attention.rows = [kept = layers_](int64_t l, int64_t head, int64_t begin, int64_t end, float* out) {
    (*kept)[static_cast<size_t>(l)].rows(head, begin, end, out);
  };
  return attention;
}

PageRelevance AttentionRecorder::rollout(std::span<const float> start) const {
  const auto rows = [this](int64_t l, int64_t query, std::span<float> row) {
    layer(l).head_mean(query, row);
  };
  return {"rollout",
          "Attention followed through all layers, heads averaged, half of each step staying in place: how "
          "much of each "
          "token reaches the top. It has no sign.",
          attention_rollout(layers(), layer(0).query_offsets(), start, rows)};
}

}  // namespace fovea::explain
