// A small text problem in a folder of its own: three classes, each told by one word among common ones.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "fovea/base/random.hpp"
#include "fovea/formats/recipe.hpp"

namespace fovea::test {

class Folder {
 public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "fovea-train-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~Folder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline void write_file(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string example_csv(int rows) {
  const char* common[] = {"the", "a", "of", "and", "it", "one", "small", "some"};
  const char* telling[] = {"apple", "engine", "violin"};
  const char* classes[] = {"fruit", "machine", "music"};
  std::string text = "text,label\n";
  Random random(7);
  for (int i = 0; i < rows; ++i) {
    const auto c = random.below(3);
    const auto place = random.below(5);
    for (uint64_t w = 0; w < 5; ++w) {
      text += w == place ? telling[c] : common[random.below(8)];
      text += w < 4 ? " " : ",";
    }
    text += std::string(classes[c]) + "\n";
  }
  return text;
}

inline formats::Recipe recipe(const Folder& folder, const std::string& more = "", int rows = 400) {
  write_file(folder.path() / "data.csv", example_csv(rows));
  auto r = formats::Recipe::parse("task = \"text-classification\"\n" + more, "recipe.toml");
  r.set("data.file", (folder.path() / "data.csv").string());
  r.set("tokenizer.kind", "words");
  r.set("model.width", int64_t{16});
  r.set("model.heads", int64_t{2});
  r.set("model.layers", int64_t{1});
  r.set("train.epochs", int64_t{6});
  r.set("train.batch_tokens", int64_t{100});
  r.set("train.learning_rate", 0.01);
  return r;
}

}  // namespace fovea::test
