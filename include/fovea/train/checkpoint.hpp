// Checkpoints: everything a run needs to continue with the same bits (docs/formats/checkpoint.md). One
// safetensors file with a checksum, written under a temporary name, synced and renamed: at any moment there
// is a whole one or none.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "fovea/nn/parameter.hpp"
#include "fovea/optim/average.hpp"
#include "fovea/optim/optimizer.hpp"

namespace fovea::train {

// Where a run stands. Random numbers are functions of the seed and these counts, so they need no state of
// their own.
struct Progress {
  int64_t step = 0;         // updates made
  int64_t pass = 0;         // batches computed, over all epochs: the position of the dropout stream
  int64_t epoch = 0;        // of the loader
  int64_t batch = 0;        // next batch of the epoch
  int64_t tokens = 0;       // read in training, over all epochs
  int64_t best_step = -1;   // -1: nothing validated yet
  double best_score = 0.0;  // Evaluation::score of that step
  int64_t stale = 0;        // validations since the best one
  double seconds = 0.0;     // of training, over all starts
};

// What a checkpoint holds beside the progress; borrowed from the run.
struct TrainState {
  nn::Parameters parameters;                // shared with the model
  optim::Optimizer* optimizer = nullptr;    // of these parameters; must be there
  optim::MovingAverage* average = nullptr;  // may be null
};

// DataError as formats::save_safetensors (a full disk says so; the checkpoint before it stays).
void save_checkpoint(const std::filesystem::path& file, const TrainState& state, const Progress& progress);

// Fills the state and gives the progress. DataError: not there, damaged, or of another model.
Progress load_checkpoint(const std::filesystem::path& file, const TrainState& state);

// The best weights alone: names and shapes as model.safetensors has them. DataError as the calls above.
void save_weights(const std::filesystem::path& file, const nn::Parameters& parameters);
void load_weights(const std::filesystem::path& file, const nn::Parameters& parameters);

}  // namespace fovea::train
