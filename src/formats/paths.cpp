#include "fovea/formats/paths.hpp"

#include <fmt/format.h>

#include <string>

namespace fovea::formats {

namespace {

namespace fs = std::filesystem;

DataError unusable(const fs::path& path, const std::error_code& error) {
  return DataError(
      fmt::format("{}: expected a path that can be used, found: {}; check it and its permissions",
                  path.string(), error.message()));
}

fs::file_status status_of(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::status_known(status)) throw unusable(path, error);
  return status;
}

}  // namespace

bool exists(const fs::path& path) {
  return fs::exists(status_of(path));
}

bool is_folder(const fs::path& path) {
  return fs::is_directory(status_of(path));
}

DataError in_our_words(const fs::filesystem_error& error) {
  return unusable(error.path1().empty() ? fs::path("file") : error.path1(), error.code());
}

}  // namespace fovea::formats
