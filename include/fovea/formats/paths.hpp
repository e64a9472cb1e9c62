// What stands under a path, asked without surprises: a path that cannot be looked at is an error in the
// words of the others.
#pragma once

#include <filesystem>

#include "fovea/base/error.hpp"

namespace fovea::formats {

// Whether anything, or a folder, stands there. DataError "path: expected a path that can be used, found: …"
// where the system does not tell: a name too long, a loop of links, a folder that this user may not enter.
bool exists(const std::filesystem::path& path);
bool is_folder(const std::filesystem::path& path);

// The standard library's error in our words: "path: expected a path that can be used, found: Permission
// denied; …".
DataError in_our_words(const std::filesystem::filesystem_error& error);

}  // namespace fovea::formats
