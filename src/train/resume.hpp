// Whether a run may be continued: with the settings and on the data that it began with.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "fovea/formats/recipe.hpp"
#include "fovea/tasks/task.hpp"

namespace fovea::train {

struct RecipeChanges {
  std::string longer;             // "train.epochs from 4 to 8"; empty: the run is as long as it was
  std::vector<std::string> data;  // keys of [data] that differ: what they give is told by the data's digest
};

// What differs between the recipe given and the one kept in `files`. ArgumentError names every setting that
// may not: all but those of [data], train.log_every and train.checkpoint_every, and train.epochs and
// train.steps when they grow. Both read: every question has been asked of `given`.
RecipeChanges compare_recipes(const formats::Recipe& given, const std::filesystem::path& files,
                              const std::filesystem::path& out);

// DataError unless the task's data are those that data.json in `files` describes. Runs of earlier versions
// have none: the log says so.
void check_data_unchanged(const tasks::Task& task, const RecipeChanges& changes,
                          const std::filesystem::path& files, LogSink* log);

}  // namespace fovea::train
