// The same recipe with model.kind changed: is attention worth it on this data?
#pragma once

#include <span>
#include <string>
#include <vector>

#include "fovea/train/train.hpp"

namespace fovea::train {

// Trains each kind into out/<kind>; every kind's recipe is checked before the first is trained. With resume,
// kinds that have finished are evaluated, the one that was stopped goes on and the others begin. Keys under
// [kinds.<kind>.train], [kinds.<kind>.model], … replace the recipe's own for that kind alone (a learning rate
// suits one architecture, not all). Errors as train(); ArgumentError when no kind is given or one is
// repeated.
std::vector<TrainResult> compare(const formats::Recipe& recipe, std::span<const models::ModelKind> kinds,
                                 const TrainOptions& options);

// A table for people: one row a model; accuracy and macro-F1 on the test rows (validation, where there are
// none) with bootstrap 95 % intervals, or loss and perplexity; seconds, parameters. The best value of a
// column is marked with *.
std::string comparison_table(std::span<const TrainResult> results);
// The same as one JSON object: {"models": [{"kind", "accuracy", "accuracy_interval", …}, …]}.
std::string comparison_json(std::span<const TrainResult> results);

}  // namespace fovea::train
