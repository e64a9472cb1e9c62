// What the tests of the house share: the files of a folder of the source tree, their lines and their
// includes.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace fovea::house {

namespace fs = std::filesystem;

inline const fs::path kRoot = FOVEA_SOURCE_DIR;

inline std::string read_text(const fs::path& path) {
  std::ifstream stream(path);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

// Files under `folder` with one of `extensions` (".hpp"), sorted, relative to the root; empty when it does
// not exist.
inline std::vector<std::string> files_under(const std::string& folder,
                                            const std::vector<std::string>& extensions) {
  std::vector<std::string> files;
  if (!fs::exists(kRoot / folder)) return files;
  for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
    const std::string extension = entry.path().extension().string();
    if (entry.is_regular_file() &&
        std::find(extensions.begin(), extensions.end(), extension) != extensions.end()) {
      files.push_back(fs::relative(entry.path(), kRoot).string());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

// The names in #include "…" and #include <…>, in order.
inline std::vector<std::string> includes_of(const std::string& file) {
  static const std::regex pattern(R"(#\s*include\s*[<"]([^>"]+)[>"])");
  const std::string text = read_text(kRoot / file);
  std::vector<std::string> names;
  for (auto it = std::sregex_iterator(text.begin(), text.end(), pattern); it != std::sregex_iterator();
       ++it) {
    names.push_back((*it)[1]);
  }
  return names;
}

}  // namespace fovea::house
