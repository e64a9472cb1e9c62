// Includes run downward only; public headers show no dependency; every public header is included alone
// somewhere.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/house/source_tree.hpp"

namespace fovea::house {
namespace {

const std::map<std::string, int> kFloors = {{"base", 1},     {"tensor", 2},  {"kernels", 3}, {"attention", 4},
                                            {"autograd", 5}, {"memory", 5},  {"nn", 6},      {"optim", 6},
                                            {"models", 7},   {"formats", 7}, {"data", 8},    {"metrics", 8},
                                            {"tasks", 8},    {"train", 9},   {"explain", 9}, {"search", 9},
                                            {"dist", 9},     {"cli", 10},    {"python", 10}, {"server", 10}};

// "include/fovea/nn/x.hpp", "src/nn/x.cpp", "fovea/nn/x.hpp" and "nn/x.hpp" all stand on floor "nn"; "" for
// others.
std::string floor_of(std::string path) {
  for (const std::string prefix : {"include/", "src/", "fovea/"}) {
    if (path.starts_with(prefix)) path = path.substr(prefix.size());
  }
  const std::string folder = path.substr(0, path.find('/'));
  return folder != path && kFloors.contains(folder) ? folder : "";
}

TEST(Includes, RunDownwardOnly) {
  for (const std::string root : {"include", "src"}) {
    for (const std::string& file : files_under(root, {".hpp", ".cpp"})) {
      if (file == "include/fovea/fovea.hpp") continue;  // the whole library at once: stands above every floor
      const std::string own = floor_of(file);
      ASSERT_NE(own, "") << file << ": expected a folder that tests/house/includes_test.cpp knows as a floor";
      for (const std::string& name : includes_of(file)) {
        const std::string other = floor_of(name);
        if (other.empty()) continue;
        EXPECT_LE(kFloors.at(other), kFloors.at(own))
            << file << " (floor " << own << ") includes " << name << " of the higher floor " << other;
      }
    }
  }
}

TEST(Includes, PublicHeadersShowNoDependency) {
  static const std::regex forbidden(
      R"((fmt|nlohmann|hwy|toml\+\+|CLI|unicode|gtest|benchmark)/.*|dnnl.*|omp\.h|sentencepiece.*|.*intrin\.h)");
  for (const std::string& file : files_under("include", {".hpp"})) {
    for (const std::string& name : includes_of(file)) {
      EXPECT_FALSE(std::regex_match(name, forbidden)) << file << " includes " << name;
      EXPECT_TRUE(!name.ends_with(".hpp") || name.starts_with("fovea/"))
          << file << " includes " << name << ", which make install does not bring";
    }
  }
}

TEST(Includes, PublicHeadersAreGuarded) {
  for (const std::string& file : files_under("include", {".hpp"})) {
    EXPECT_NE(read_text(kRoot / file).find("#pragma once\n"), std::string::npos) << file;
  }
}

// tests/CMakeLists.txt makes one translation unit a header, which includes it alone and twice; they are part
// of this runner, so a header that does not compile alone fails the build.
TEST(Includes, EveryPublicHeaderIsCompiledAlone) {
  std::istringstream list(read_text(fs::path(FOVEA_BINARY_DIR) / "tests" / "headers_alone" / "list.txt"));
  std::set<std::string> alone;
  for (std::string line; std::getline(list, line);) alone.insert(line);
  for (const std::string& file : files_under("include", {".hpp"})) {
    EXPECT_TRUE(alone.contains(fs::relative(file, "include").string()))
        << file << " is newer than the build; run cmake again";
  }
}

// A test reaches each public header, itself or through the headers it includes.
TEST(Includes, EveryPublicHeaderHasATest) {
  std::set<std::string> tested;
  std::vector<std::string> open = files_under("tests", {".hpp", ".cpp"});
  while (!open.empty()) {
    const std::string file = open.back();
    open.pop_back();
    for (const std::string& name : includes_of(file)) {
      const std::string path = fs::path("include") / name;
      if (name.starts_with("fovea/") && name != "fovea/fovea.hpp" && tested.insert(path).second)
        open.push_back(path);
    }
  }
  for (const std::string& file : files_under("include/fovea", {".hpp"})) {
    if (file == "include/fovea/fovea.hpp") continue;  // examples/consumer
    EXPECT_TRUE(tested.contains(file)) << file << " is reached by no file under tests/";
  }
}

}  // namespace
}  // namespace fovea::house
