// The sink that keeps a forward pass's attention calls. Internal.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fovea/explain/page.hpp"
#include "fovea/explain/recorded_attention.hpp"
#include "fovea/nn/observation.hpp"

namespace fovea::explain {

class AttentionRecorder : public nn::AttentionSink {
 public:
  // No observers: entropies and the like are computed from exact rows.
  Observers wishes() const override { return {}; }
  void attention(const nn::AttentionRecord& record) override;
  void pooling(const nn::PoolingRecord& record) override;

  bool empty() const { return layers_->empty(); }
  int64_t layers() const { return static_cast<int64_t>(layers_->size()); }
  const RecordedAttention& layer(int64_t index) const { return (*layers_)[static_cast<size_t>(index)]; }
  // Weights of the last attention pooling, [T]; empty when there was none.
  const std::vector<float>& pooling_weights() const { return pooling_; }

  // The calls of one text, read alone, as the page takes them; they live as long as it does.
  PageAttention page_attention() const;
  // Rollout of that text from what is read at the top, [T].
  PageRelevance rollout(std::span<const float> start) const;

 private:
  std::shared_ptr<std::vector<RecordedAttention>> layers_ =
      std::make_shared<std::vector<RecordedAttention>>();
  std::vector<float> pooling_;
};

}  // namespace fovea::explain
