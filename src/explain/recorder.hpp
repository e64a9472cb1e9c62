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
  // Weights of each attention pooling in the order of the calls, [T] each.
  const std::vector<std::vector<float>>& poolings() const { return poolings_; }

  // The calls of one text, read alone, as the page takes them; they live as long as it does.
  PageAttention page_attention() const;
  // Rollout of that text, [T]: the calls are those of starts.size() models of equal depth, one after the
  // other; starts[m] [T] is what model m reads at its top. The mean over the models.
  PageRelevance rollout(std::span<const std::vector<float>> starts) const;

 private:
  std::shared_ptr<std::vector<RecordedAttention>> layers_ =
      std::make_shared<std::vector<RecordedAttention>>();
  std::vector<std::vector<float>> poolings_;
};

}  // namespace fovea::explain
