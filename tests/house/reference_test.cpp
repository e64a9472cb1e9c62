// `make docs` fails on a public name without a comment, and on no other.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/house/source_tree.hpp"
#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fovea::house {
namespace {

TEST(Reference, NamesThatNoCommentSpeaksForAreNamed) {
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

// Doubles, of either type.
int overloaded(int x);
long overloaded(long x);
enum class Unspoken { kOne };
// Halves.
int halved(int x);
int below_another(int x);

// Numbers.
struct Numbers {
  Numbers();
  explicit Numbers(int converted);
  int behind = 0;  // how far behind
  int bare = 0;

  // Where they begin and end.
  int begin = 0;
  int end = 0;
};

}  // namespace spoilt
)");
  const CommandResult result = run_command("python3 " FOVEA_SOURCE_DIR "/tools/docs/reference.py " + header);
  EXPECT_EQ(result.code, 1) << result.out << result.err;
  for (const char* name : {": undocumented(int x)", ": bare (variable)", ": Unspoken (enumeration)",
                           ": below_another(int x)", ": Numbers(int converted)"}) {
    EXPECT_THAT(result.err, testing::HasSubstr(name));
  }
  for (const char* name : {"of_the_group", " documented(", "overloaded(", " halved(", "behind (variable)",
                           "begin (variable)", "end (variable)", "Numbers()"}) {
    EXPECT_THAT(result.err, testing::Not(testing::HasSubstr(name)));
  }
}

// <unk> would be HTML to it, \t a command.
TEST(Reference, CommentsReachDoxygenAsWords) {
  const TemporaryFolder folder;
  const std::string header = folder.write("words.hpp", R"(// A header.
#pragma once

// Reads out/<kind>; '\t' and "\n" too.
int read();  // the <unk> token
)");
  const CommandResult result =
      run_command("python3 " FOVEA_SOURCE_DIR "/tools/docs/doxygen_filter.py " + header);
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, testing::HasSubstr(R"(/// Reads out/\<kind>; '\\t' and "\n" too.)"));
  EXPECT_THAT(result.out, testing::HasSubstr(R"(int read();  ///< the \<unk> token)"));
}

}  // namespace
}  // namespace fovea::house
