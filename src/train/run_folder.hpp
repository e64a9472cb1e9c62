// The folder that a run writes to: what stands there, and how a new model takes the place of an old one so
// that at any moment, a kill's included, a whole one can be read (docs/formats/model.md).
//
// A run in a fresh folder works in it. A run in a folder that holds a model, or another run's checkpoint,
// works in its subfolder next/. The manifest, written last, makes a model whole: from then on next/ is what
// readers take (formats::model_files), until its files have replaced those of the folder.
#pragma once

#include <filesystem>

#include "fovea/formats/folder_lock.hpp"
#include "fovea/train/train.hpp"

namespace fovea::train {

// Kept of a finished run, so that more epochs can follow exactly where it ended. May be deleted.
inline constexpr const char* kStateName = "state.safetensors";

// Whether a run has been in the folder: a model, a checkpoint, or a successor under way.
bool in_use(const std::filesystem::path& folder);

class RunFolder {
 public:
  enum class Start {
    kNew,       // nothing to continue
    kContinue,  // a run that was stopped
    kFinished   // a whole model, and no run after it
  };

  // Locks the folder for as long as this object lives, and completes what a kill cut short. ArgumentError: in
  // use without resume or overwrite, nothing to resume, no folder given. DataError as FolderLock.
  explicit RunFolder(const TrainOptions& options);

  Start start() const { return start_; }
  // Where the run's files are: the folder or its next/.
  const std::filesystem::path& files() const { return files_; }

  // kNew: gives the run its place. A successor that was given up is deleted here, never what readers take.
  void begin();
  // kFinished: a successor that goes on where the model's training ended. ArgumentError without its state.
  void extend();
  // The run's files are all there: makes the model whole, and puts it into its place.
  void finish();

 private:
  std::filesystem::path out_, files_;
  formats::FolderLock lock_;
  Start start_ = Start::kNew;
};

}  // namespace fovea::train
