// `make install` gives a package that another project finds, links and runs (examples/consumer).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/house/source_tree.hpp"
#include "tests/support/run_command.hpp"

namespace fovea::house {
namespace {

TEST(Install, ConsumerProjectBuildsAndRuns) {
  const fs::path scratch = fs::path(FOVEA_BINARY_DIR) / "consumer_test";
  fs::remove_all(scratch);
  const std::string prefix = (scratch / "prefix").string();
  const std::string build = (scratch / "build").string();

  const CommandResult install = run_command("cmake --install " FOVEA_BINARY_DIR " --prefix " + prefix);
  ASSERT_EQ(install.code, 0) << install.out << install.err;
  const CommandResult configure =
      run_command("cmake -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_PREFIX_PATH=" + prefix + " -B " + build +
                  " -S " FOVEA_SOURCE_DIR "/examples/consumer");
  ASSERT_EQ(configure.code, 0) << configure.out << configure.err;
  const CommandResult compile = run_command("cmake --build " + build);
  ASSERT_EQ(compile.code, 0) << compile.out << compile.err;
  const CommandResult run = run_command(build + "/consumer");
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out, testing::HasSubstr("each query's strongest key"));
  EXPECT_EQ(run_command(prefix + "/bin/fovea --version").code, 0);
  fs::remove_all(scratch);
}

}  // namespace
}  // namespace fovea::house
