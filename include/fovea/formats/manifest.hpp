// A model folder's manifest.json: size and CRC-32C of each file (docs/formats/model.md). It is written last,
// so a folder that has one is finished, and it is checked before anything else of a model is read. A checksum
// finds damage by accident: every change within 32 neighbouring bits, any other but one in 2^32. It does not
// keep out somebody who writes a manifest of his own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/base/error.hpp"

namespace fovea::formats {

// The manifest's name in a model's folder.
inline constexpr const char* kManifestName = "manifest.json";
// Where a run that replaces the model in a folder works until its model is whole.
inline constexpr const char* kNextFolder = "next";

// One file as the manifest has it.
struct ManifestEntry {
  std::string name;       // within the folder
  int64_t bytes = 0;      // its size
  uint32_t checksum = 0;  // CRC-32C of its bytes
};

// The folder in which the files of the model in `folder` stand: folder/next when a model is whole there that
// has not moved up yet (its run was stopped between the two), else `folder` itself.
std::filesystem::path model_files(const std::filesystem::path& folder);

// Writes the manifest of the named files, which must be there. Atomic. DataError as read_file and
// write_atomically.
void write_manifest(const std::filesystem::path& files, const std::vector<std::string>& names);

// The entries of a manifest. DataError: none there, damaged, of a later version.
std::vector<ManifestEntry> read_manifest(const std::filesystem::path& files);

// What is known of a folder's files.
enum class Integrity {
  kVerified,   // every file is as it was written
  kUnverified  // there is no manifest: an earlier version wrote the folder
};
const char* to_string(Integrity integrity);  // "verified", "unverified"

// Reads every file that the manifest names. DataError names the first that is missing or has other bytes, and
// says how a change that was meant is accepted.
Integrity verify_files(const std::filesystem::path& files);
// The same for one file, which the manifest need not name.
void verify_file(const std::filesystem::path& files, std::string_view name);

// The names, of those that a model may consist of (card.md, config.json, data.json, …), that are there.
std::vector<std::string> model_file_names(const std::filesystem::path& files);
// All of them, there or not.
std::span<const char* const> all_model_file_names();

// Writes the manifest of the model's files as they are now: a change that was meant.
void accept_files(const std::filesystem::path& files);

// The text of the manifest, empty where there is none: changes whenever the model is replaced.
std::string manifest_text(const std::filesystem::path& files);

// read(files) of the model in `folder`, once more where the model was replaced meanwhile, so that its files
// are never those of two models.
template <class Read>
auto read_model(const std::filesystem::path& folder, Read&& read) {
  for (int attempt = 1;; ++attempt) {
    const std::filesystem::path files = model_files(folder);
    const std::string before = manifest_text(files);
    const auto replaced = [&] {
      return attempt < 5 && (model_files(folder) != files || manifest_text(files) != before);
    };
    try {
      auto result = read(files);
      if (!replaced()) return result;
    } catch (const DataError&) {
      if (!replaced()) throw;
    }
  }
}

}  // namespace fovea::formats
