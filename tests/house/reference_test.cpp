// `make docs` fails on a public name without a comment, and on no other.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/house/source_tree.hpp"
#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fovea::house {
namespace {

TEST(Reference, ANameWithoutACommentIsNamed) {
  if (run_command("command -v doxygen").code != 0) GTEST_SKIP() << "no doxygen here; tools/setup.sh docs";
  const TemporaryFolder folder;
  const std::string header = folder.write("spoilt.hpp", R"(// A header.
#pragma once
// What is named here.
namespace spoilt {

// Adds one.
int documented(int x);
int of_the_group(int x);

int undocumented(int x);

// Numbers.
struct Numbers {
  Numbers();
  int behind = 0;  // how far behind
  int bare = 0;
};

}  // namespace spoilt
)");
  const CommandResult result = run_command("python3 " FOVEA_SOURCE_DIR "/tools/docs/reference.py " + header);
  EXPECT_EQ(result.code, 1) << result.out << result.err;
  EXPECT_THAT(result.err, testing::HasSubstr(": undocumented(int x)"));
  EXPECT_THAT(result.err, testing::HasSubstr(": bare (variable)"));
  for (const char* name : {"of_the_group", " documented(", "behind (variable)", "Numbers()"}) {
    EXPECT_THAT(result.err, testing::Not(testing::HasSubstr(name)));
  }
}

}  // namespace
}  // namespace fovea::house
