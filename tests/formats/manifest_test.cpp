#include "fovea/formats/manifest.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fovea/base/error.hpp"
#include "fovea/formats/file.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fovea::formats {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string error_of(const std::filesystem::path& folder) {
  try {
    verify_files(folder);
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}

class ManifestTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_.write("config.json", "{\"kind\": \"linear\"}\n");
    folder_.write("recipe.toml", "");
    folder_.write("model.safetensors", std::string(3'000'000, 'w'));
    write_manifest(folder_.path(), {"recipe.toml", "config.json", "model.safetensors"});
  }
  TemporaryFolder folder_;
};

TEST_F(ManifestTest, FilesAsWrittenAreVerifiedAndOthersAreNotLookedAt) {
  folder_.write("notes.txt", "mine");
  EXPECT_EQ(verify_files(folder_.path()), Integrity::kVerified);
  const auto entries = read_manifest(folder_.path());
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_EQ(entries[0].name, "config.json");
  EXPECT_EQ(entries[1].bytes, 3'000'000);
  EXPECT_EQ(entries[1].checksum, crc32c(std::string(3'000'000, 'w')));
}

TEST_F(ManifestTest, AFolderWithoutOneIsUnverified) {
  std::filesystem::remove(folder_.path() / kManifestName);
  EXPECT_EQ(verify_files(folder_.path()), Integrity::kUnverified);
}

TEST_F(ManifestTest, EveryFlippedBitOfTheManifestAndOfASmallFileIsFound) {
  for (const std::string name : {"manifest.json", "config.json"}) {
    const std::string good = folder_.read(name);
    for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
      std::string bad = good;
      bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
      folder_.write(name, bad);
      EXPECT_THROW(verify_files(folder_.path()), DataError) << name << ", bit " << bit;
    }
    folder_.write(name, good);
  }
  EXPECT_EQ(verify_files(folder_.path()), Integrity::kVerified);
}

TEST_F(ManifestTest, DamageIsNamedWithWhatToDo) {
  const std::string folder = folder_.path().string();
  std::string bytes = folder_.read("model.safetensors");
  bytes[2'500'000] = 'v';
  folder_.write("model.safetensors", bytes);
  EXPECT_THAT(error_of(folder),
              StartsWith(folder + "/model.safetensors: expected the bytes that were saved"));
  EXPECT_THAT(error_of(folder), HasSubstr("fovea info " + folder + " --accept"));
  folder_.write("model.safetensors", bytes.substr(1));
  EXPECT_THAT(error_of(folder), HasSubstr("expected 3000000 bytes"));
  std::filesystem::remove(folder_.path() / "model.safetensors");
  EXPECT_THAT(error_of(folder), HasSubstr("lists, found none"));
}

TEST_F(ManifestTest, NamesOutsideTheFolderAreRefused) {
  folder_.write("manifest.json",
                R"({"fovea_manifest": 1, "files": {"../x": {"bytes": 1, "crc32c": "00000000"}}})");
  EXPECT_THAT(error_of(folder_.path()), HasSubstr("names of files in the folder"));
}

TEST_F(ManifestTest, AWholeSuccessorIsTakenAndAnUnfinishedOneIsNot) {
  EXPECT_EQ(model_files(folder_.path()), folder_.path());
  std::filesystem::create_directory(folder_.path() / "next");
  folder_.write("next/config.json", "{}");
  EXPECT_EQ(model_files(folder_.path()), folder_.path());
  write_manifest(folder_.path() / "next", {"config.json"});
  EXPECT_EQ(model_files(folder_.path()), folder_.path() / "next");
}

TEST_F(ManifestTest, AModelReplacedWhileItIsReadIsReadAgain) {
  int reads = 0;
  const auto seen = read_model(folder_.path(), [&](const std::filesystem::path& files) {
    const std::string config = read_file(files / "config.json");
    if (++reads == 1) {  // another process moves a new model into place
      folder_.write("config.json", "new");
      write_manifest(folder_.path(), {"config.json"});
    }
    return config;
  });
  EXPECT_EQ(seen, "new");
  EXPECT_EQ(reads, 2);
  EXPECT_THROW(read_model(folder_.path(), [](const auto& files) { return read_file(files / "none"); }),
               DataError);
}

}  // namespace
}  // namespace fovea::formats
