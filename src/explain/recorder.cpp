#include "explain/recorder.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "fovea/explain/rollout.hpp"

namespace fovea::explain {

void AttentionRecorder::attention(const nn::AttentionRecord& record) {
  const autograd::AttentionCall& call = record.call;
  layers_->emplace_back(call.inputs, call.spec);
}

void AttentionRecorder::pooling(const nn::PoolingRecord& record) {
  poolings_.emplace_back(record.weights.span().begin(), record.weights.span().end());
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

PageRelevance AttentionRecorder::rollout(std::span<const std::vector<float>> starts) const {
  const auto models = static_cast<int64_t>(starts.size());
  check_argument(models > 0 && layers() % models == 0, "AttentionRecorder",
                 "expected {} recorded layers to be shared equally by the models, got {} models", layers(),
                 models);
  const int64_t depth = layers() / models;
  std::vector<float> mean(starts[0].size(), 0.0F);
  for (int64_t m = 0; m < models; ++m) {
    const auto rows = [this, first = m * depth](int64_t l, int64_t query, std::span<float> row) {
      layer(first + l).head_mean(query, row);
    };
    const auto one =
        attention_rollout(depth, layer(m * depth).query_offsets(), starts[static_cast<size_t>(m)], rows);
    for (size_t t = 0; t < mean.size(); ++t) mean[t] += one[t] / static_cast<float>(models);
  }
  return {"rollout",
          "Attention followed through all layers, heads averaged, half of each step staying in place: how "
          "much of each "
          "token reaches the top. It has no sign.",
          std::move(mean)};
}

}  // namespace fovea::explain
