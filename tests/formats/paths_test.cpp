#include "fovea/formats/paths.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temporary_folder.hpp"

namespace fovea::formats {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

TEST(Paths, TellFilesFoldersAndNothing) {
  const TemporaryFolder folder;
  const fs::path file = folder.write("a", "b");
  EXPECT_TRUE(formats::exists(file));
  EXPECT_FALSE(formats::is_folder(file));
  EXPECT_TRUE(formats::is_folder(folder.path()));
  EXPECT_FALSE(formats::exists(folder.path() / "none"));
  EXPECT_FALSE(formats::exists(file / "below")) << "what a file holds is not there";
}

TEST(Paths, WhatCannotBeLookedAtIsAnErrorOfOurs) {
  const TemporaryFolder folder;
  fs::create_symlink("loop", folder.path() / "loop");
  for (const fs::path& path : {folder.path() / std::string(5000, 'a'), folder.path() / "loop"}) {
    for (bool (*ask)(const fs::path&) : {&formats::exists, &formats::is_folder}) {
      try {
        ask(path);
        ADD_FAILURE() << path << " was looked at";
      } catch (const DataError& error) {
        EXPECT_THAT(error.what(), HasSubstr(path.string() + ": expected a path that can be used, found: "));
      }
    }
  }
}

TEST(Paths, TheStandardLibrarysErrorIsSaidInOurWords) {
  const fs::filesystem_error error("rename", "from", "to",
                                   std::make_error_code(std::errc::permission_denied));
  EXPECT_STREQ(
      in_our_words(error).what(),
      "from: expected a path that can be used, found: Permission denied; check it and its permissions");
}

}  // namespace
}  // namespace fovea::formats
