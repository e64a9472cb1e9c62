// The files of a split, written together: a folder holds all the parts of one split or of none.
#pragma once

#include <filesystem>
#include <vector>

#include "fovea/data/check.hpp"

namespace fovea::data {

enum class Earlier { kRefuse, kReplace };  // what to do about the parts of an earlier split

// Writes each part as folder/<name>.csv (write_csv). One split at a time writes to a folder
// (formats::FolderLock).
//
// Where the folder holds parts of an earlier split (train, valid, test or part1 … part16 under any ending),
// kRefuse is an ArgumentError, and kReplace puts the new parts into their place: they are written beside the
// folder, which is then exchanged by one system call, so that a kill at any moment leaves the old parts or
// the new ones. That wants a folder of nothing else: with other files in it kReplace is an ArgumentError too.
//
// DataError as write_csv and FolderLock; a file system that cannot exchange folders.
void write_parts(const std::vector<NamedTable>& parts, const std::filesystem::path& folder,
                 Earlier earlier = Earlier::kRefuse);

}  // namespace fovea::data
