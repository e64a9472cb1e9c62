#include "fovea/data/parts.hpp"

#include <fcntl.h>
#include <stdio.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/check.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/folder_lock.hpp"
#include "fovea/formats/paths.hpp"
#include "fovea/formats/printable.hpp"

namespace fovea::data {
namespace {

namespace fs = std::filesystem;

bool is_part(const fs::directory_entry& entry) {
  const std::string stem = entry.path().stem().string();
  if (!entry.is_regular_file()) return false;
  if (stem == "train" || stem == "valid" || stem == "test") return true;
  return stem.starts_with("part") && stem.size() > 4 && stem.size() <= 6 &&
         std::all_of(stem.begin() + 4, stem.end(), [](char c) { return c >= '0' && c <= '9'; });
}

struct Contents {
  std::vector<std::string> parts, others;
};

Contents contents_of(const fs::path& folder) {
  Contents contents;
  if (!formats::is_folder(folder)) return contents;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name == ".lock") continue;
    (is_part(entry) ? contents.parts : contents.others).push_back(name);
  }
  std::sort(contents.parts.begin(), contents.parts.end());
  std::sort(contents.others.begin(), contents.others.end());
  return contents;
}

void check_contents(const Contents& contents, const fs::path& folder, Earlier earlier) {
  if (contents.parts.empty()) return;
  constexpr const char* kCall = "data split";
  check_argument(
      earlier == Earlier::kReplace, kCall,
      "expected a folder without parts of an earlier split, got {}, which holds {}; give --overwrite to "
      "replace them, or another --out",
      folder.string(), formats::printable_list(contents.parts));
  check_argument(contents.others.empty(), kCall,
                 "expected a folder of nothing but the parts to be replaced, got {}, which also holds {}; "
                 "move {} away, or "
                 "give another --out",
                 folder.string(), formats::printable_list(contents.others),
                 contents.others.size() == 1 ? "it" : "them");
}

void write_files(const std::vector<NamedTable>& parts, const fs::path& folder) {
  for (const NamedTable& part : parts) write_csv(part.table, folder / (part.name + ".csv"));
}

// Into a folder that holds other things, and no part: each appears by a rename once all are written.
void add_parts(const std::vector<NamedTable>& parts, const fs::path& folder) {
  const fs::path staging = folder / ".split-next";
  fs::remove_all(staging);
  fs::create_directory(staging);
  write_files(parts, staging);
  for (const NamedTable& part : parts)
    fs::rename(staging / (part.name + ".csv"), folder / (part.name + ".csv"));
  fs::remove_all(staging);
  formats::sync_folder(folder);
}

void exchange_parts(const std::vector<NamedTable>& parts, const fs::path& folder, formats::FolderLock& lock) {
  const fs::path whole = fs::canonical(folder);
  const fs::path staging = whole.parent_path() / fmt::format(".{}.next", whole.filename().string());
  fs::remove_all(staging);
  formats::FolderLock successor(staging);  // the folder stays locked under its name after the exchange
  write_files(parts, staging);
  const bool exchanged =
      ::renameat2(AT_FDCWD, staging.c_str(), AT_FDCWD, whole.c_str(), RENAME_EXCHANGE) == 0;
  const int error = errno;
  if (!exchanged) fs::remove_all(staging);
  check_data(exchanged, folder.string(),
             "expected a folder that can be replaced at once, found: {}; give another --out",
             std::generic_category().message(error));
  successor.moved_to(whole);
  lock.moved_to(staging);
  formats::sync_folder(whole.parent_path());
  fs::remove_all(staging);
}

}  // namespace

void write_parts(const std::vector<NamedTable>& parts, const fs::path& folder, Earlier earlier) {
  try {
    check_contents(contents_of(folder), folder, earlier);  // before the folder is made
    formats::FolderLock lock(folder);
    const Contents contents = contents_of(folder);
    check_contents(contents, folder, earlier);
    if (contents.others.empty()) {
      exchange_parts(parts, folder, lock);
    } else {
      add_parts(parts, folder);
    }
  } catch (const fs::filesystem_error& error) {
    throw_data(error.path1().string(), "could not be written or moved: {}; make room or give another --out",
               error.code().message());
  }
}

}  // namespace fovea::data
