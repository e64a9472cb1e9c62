#include "train/run_folder.hpp"

#include "base/check.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/manifest.hpp"
#include "fovea/formats/paths.hpp"

namespace fovea::train {
namespace {

namespace fs = std::filesystem;
using formats::kManifestName;
using formats::kNextFolder;

constexpr const char* kCheckpoint = "checkpoint";
constexpr const char* kCheckpointToBe = "checkpoint.tmp";
constexpr const char* kLast = "last.safetensors";
constexpr const char* kReplaced = ".replaced";  // a successor whose files have moved up, about to be deleted

bool has_manifest(const fs::path& files) {
  return formats::exists(files / kManifestName);
}

// The checkpoint of a run whose model is whole: the last state is kept, the rest has served.
void put_away_checkpoint(const fs::path& files) {
  const fs::path checkpoint = files / kCheckpoint;
  if (formats::exists(checkpoint / kLast)) fs::rename(checkpoint / kLast, files / kStateName);
  fs::remove_all(checkpoint);
}

// One file of the successor under its name in the folder: the old one until the rename, the new one after it.
void move_up(const fs::path& from, const fs::path& to) {
  const fs::path temporary = fs::path(to) += ".tmp-next";
  fs::remove(temporary);
  std::error_code error;
  fs::create_hard_link(from, temporary, error);
  if (error) fs::copy_file(from, temporary);  // file systems without links
  fs::rename(temporary, to);
  fs::remove(temporary);  // a rename onto another name of the same file, as after a kill, does nothing
}

// By one rename it is no successor any more; what is deleted bit by bit has another name.
void delete_successor(const fs::path& out) {
  fs::remove_all(out / kReplaced);
  fs::rename(out / kNextFolder, out / kReplaced);
  fs::remove_all(out / kReplaced);
}

// A run that was stopped while it replaced the model, and is not to be continued.
void give_up_successor(const fs::path& out) {
  const fs::path next = out / kNextFolder;
  if (!formats::exists(next)) return;
  check_data(formats::is_folder(next) && (fs::is_empty(next) || formats::exists(next / kCheckpoint) ||
                                          formats::exists(next / kCheckpointToBe)),
             next.string(),
             "expected nothing, or a run that was stopped, found something else; move it elsewhere");
  delete_successor(out);
}

// Puts a whole successor into the folder's place. Readers take next/ until its last file has moved, and doing
// it twice is doing it once, so that a kill anywhere in it does no harm.
void replace_model(const fs::path& out) {
  const fs::path next = out / kNextFolder;
  put_away_checkpoint(next);
  fs::remove_all(out / kCheckpoint);
  for (const char* name : formats::all_model_file_names()) {
    if (formats::exists(next / name)) {
      move_up(next / name, out / name);
    } else {
      fs::remove(out / name);
    }
  }
  if (formats::exists(next / kStateName)) {
    move_up(next / kStateName, out / kStateName);
  } else {
    fs::remove(out / kStateName);
  }
  move_up(next / kManifestName, out / kManifestName);
  formats::sync_folder(out);
  delete_successor(out);
}

// What a kill may have left to be done.
void settle(const fs::path& out) {
  if (has_manifest(out / kNextFolder)) {
    replace_model(out);
  } else if (has_manifest(out) && formats::exists(out / kCheckpoint)) {
    put_away_checkpoint(out);
  }
  fs::remove_all(out / kReplaced);
}

bool unfinished(const fs::path& files) {
  return formats::exists(files / kCheckpoint) && !has_manifest(files);
}

// Earlier versions wrote no manifest: their run was finished when its checkpoint was gone.
bool finished(const fs::path& files) {
  return has_manifest(files) ||
         (formats::exists(files / "model.safetensors") && !formats::exists(files / kCheckpoint));
}

const TrainOptions& checked(const TrainOptions& options) {
  check_argument(!options.out.empty(), "train", "expected a folder for the model, got none; give --out DIR");
  check_argument(!(options.resume && options.overwrite), "train", "expected resume or overwrite, got both");
  // Asked before the folder is made.
  check_argument(
      !options.resume || in_use(options.out), "train",
      "expected a folder with a run to continue, got {}, which {}; leave --resume out to begin one, "
      "or give the --out of the run",
      options.out.string(),
      !formats::exists(options.out) ? "does not exist"
      : fs::is_empty(options.out)   ? "is empty"
                                    : "holds neither a model nor a checkpoint");
  return options;
}

}  // namespace

bool in_use(const fs::path& folder) {
  std::error_code error;
  for (const char* name : {kManifestName, "model.safetensors", kCheckpoint, kNextFolder}) {
    if (fs::exists(folder / name, error)) return true;
  }
  return false;
}

RunFolder::RunFolder(const TrainOptions& options) : out_(checked(options).out), files_(out_), lock_(out_) {
  settle(out_);
  const bool successor = unfinished(out_ / kNextFolder), own = unfinished(out_), whole = finished(out_);
  if (options.resume) {
    check_argument(
        successor || own || whole, "train",
        "expected a folder with a run to continue, got {}, where none has begun; leave --resume out",
        out_.string());
    if (successor) files_ = out_ / kNextFolder;
    start_ = successor || own ? Start::kContinue : Start::kFinished;
    return;
  }
  check_argument(options.overwrite || !(successor || own || whole), "train",
                 "expected a folder without a model, got {}, which holds {}; give another --out, {}or "
                 "--overwrite to begin anew (what is there stays until the new model is whole)",
                 out_.string(), successor || own ? "a run that was stopped" : "a finished model",
                 successor || own ? "--resume to continue it, " : "");
  if (successor || own || whole) files_ = out_ / kNextFolder;
}

void RunFolder::begin() {
  if (files_ != out_) give_up_successor(out_);
  fs::create_directories(files_ / kCheckpoint);
}

void RunFolder::extend() {
  check_argument(
      formats::exists(out_ / kStateName), "train",
      "expected {} in {} to train the finished model further, found none; begin anew with --overwrite",
      kStateName, out_.string());
  files_ = out_ / kNextFolder;
  give_up_successor(out_);
  // The checkpoint appears whole, by a rename: without it, nothing has begun.
  const fs::path checkpoint = files_ / kCheckpointToBe;
  fs::create_directories(checkpoint);
  for (const char* name : formats::all_model_file_names()) {
    const std::string file = name;
    if (file != "model.safetensors" && formats::exists(out_ / file))
      fs::copy_file(out_ / file, files_ / file);
  }
  fs::copy_file(out_ / kStateName, checkpoint / kLast);
  fs::copy_file(out_ / "model.safetensors", checkpoint / "best.safetensors");
  formats::sync_folder(checkpoint);
  fs::rename(checkpoint, files_ / kCheckpoint);
}

void RunFolder::finish() {
  formats::write_manifest(files_, formats::model_file_names(files_));
  settle(out_);
  files_ = out_;
}

}  // namespace fovea::train
