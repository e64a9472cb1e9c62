// What stands in a model folder besides the weights: metrics.json and card.md.
#pragma once

#include "fovea/train/train.hpp"

namespace fovea::train {

// metrics.json: the final figures of each split, and what they cost. DataError on a full disk.
void write_metrics(const TrainResult& result, const std::filesystem::path& folder);
// What a finished run cost, back from the metrics.json in result.folder; as it is where there is none.
void read_metrics(TrainResult& result);

// card.md: what the model is, what it was trained on, how well it does, how to make it again. After Mitchell
// et al., "Model cards for model reporting", 2019.
void write_card(const TrainResult& result, const std::string& data_description,
                const std::filesystem::path& folder);

}  // namespace fovea::train
