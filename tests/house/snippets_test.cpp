// What README and docs show in C++ compiles with the one include that they name, links to an installed Fovea,
// and runs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/house/source_tree.hpp"
#include "tests/support/run_command.hpp"

namespace fovea::house {
namespace {

std::vector<std::string> cpp_blocks(const std::string& file) {
  std::vector<std::string> blocks;
  bool inside = false;
  std::istringstream lines(read_text(kRoot / file));
  for (std::string line; std::getline(lines, line);) {
    if (line == "```cpp") {
      blocks.emplace_back();
      inside = true;
    } else if (line == "```") {
      inside = false;
    } else if (inside) {
      blocks.back() += line + "\n";
    }
  }
  return blocks;
}

bool is_program(const std::string& block) {
  return block.find("int main()") != std::string::npos;
}

// The names that snippets take as given.
constexpr const char* kSurroundings = R"(
  [[maybe_unused]] const int64_t lq = 16, lk = 16;
  const fovea::Tensor q = draw({8, 2, 64}), k = draw({8, 2, 64}), v = draw({8, 2, 64});
  const fovea::Offsets offsets = fovea::Offsets::single(8);
  const auto new_q = fovea::contiguous_view<const float, 3>(q.data(), {8, 2, 64});
  const auto new_k = fovea::contiguous_view<const float, 3>(k.data(), {8, 2, 64});
  const auto new_v = fovea::contiguous_view<const float, 3>(v.data(), {8, 2, 64});
  fovea::AttentionInputs inputs{.q = new_q, .k = new_k, .v = new_v, .q_offsets = offsets, .k_offsets = offsets};
  [[maybe_unused]] const std::vector<int64_t> queries{3, 5}, ids{0, 0, 1, 1};
  fovea::KvCache given({.kv_heads = 2, .width = 64, .value_width = 64});
  given.append(new_k, new_v);
  [[maybe_unused]] const std::vector<const fovea::KvCache*> caches{&given};
  fovea::Tensor out_tensor = fovea::Tensor::empty({8, 2, 64}), lse_tensor = fovea::Tensor::empty({8, 2});
  [[maybe_unused]] const auto out = fovea::contiguous_view<float, 3>(out_tensor.data(), {8, 2, 64});
  [[maybe_unused]] float* lse = lse_tensor.data();
  [[maybe_unused]] const fovea::AttentionSpec spec{.causal = true};
  [[maybe_unused]] const fovea::Observers observers = fovea::observe::entropy;
  [[maybe_unused]] fovea::Insight seen;
)";

std::string program_of_snippets() {
  std::string functions;
  std::string calls;
  int count = 0;
  std::vector<std::string> files = files_under("docs", {".md"});
  files.emplace_back("README.md");
  for (const std::string& file : files) {
    for (const std::string& block : cpp_blocks(file)) {
      if (is_program(block)) continue;
      const std::string name = "snippet_" + std::to_string(count++);
      const std::string body = std::regex_replace(block, std::regex("#include[^\n]*\n"), "");
      functions += "// " + file + "\nvoid " + name + "() {" + kSurroundings + "  {\n" + body + "  }\n}\n";
      calls += "  std::puts(\"" + file + "\");\n  " + name + "();\n";
    }
  }
  EXPECT_GE(count, 7);
  return R"(#include <cstdio>
#include <fovea/fovea.hpp>
#include <vector>
fovea::Tensor draw(const fovea::Shape& shape) {
  fovea::Random random(3);
  fovea::Tensor x = fovea::Tensor::empty(shape);
  for (float& value : x.span()) value = static_cast<float>(random.normal());
  return x;
}
)" + functions +
         "int main() {\n" + calls + "  std::puts(\"done\");\n}\n";
}

class Snippets : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(scratch_);
    fs::create_directories(scratch_);
    const CommandResult install = run_command("cmake --install " FOVEA_BINARY_DIR " --prefix " + prefix_);
    ASSERT_EQ(install.code, 0) << install.out << install.err;
  }
  void TearDown() override { fs::remove_all(scratch_); }

  // The folder's program, which its CMakeLists.txt calls `name`, run in the scratch folder.
  CommandResult build_and_run(const std::string& source, const std::string& name) {
    const std::string build = (scratch_ / "build").string();
    CommandResult result =
        run_command("cmake -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_PREFIX_PATH=" + prefix_ + " -B " +
                    build + " -S " + source + " && cmake --build " + build);
    if (result.code != 0) return result;
    return run_command("cd " + scratch_.string() + " && " + build + "/" + name);
  }

  fs::path scratch_ = fs::path(FOVEA_BINARY_DIR) / ("snippets_test_" + std::to_string(getpid()));
  std::string prefix_ = (scratch_ / "prefix").string();
};

TEST_F(Snippets, CompileWithOneIncludeAndRun) {
  std::ofstream table(scratch_ / "reviews.csv");
  table << "text,label\n";
  for (int i = 0; i < 60; ++i)
    table << (i % 2 ? "a lovely film " : "a dull book ") << i << (i % 2 ? ",good\n" : ",bad\n");
  table.close();
  const CommandResult train = run_command(
      "cd " + scratch_.string() +
      " && " FOVEA_BINARY_DIR
      "/bin/fovea train --task text-classification --data reviews.csv --target label --out out/reviews --set "
      "tokenizer.kind=words --set model.width=16 --set model.layers=1 --set train.epochs=1");
  ASSERT_EQ(train.code, 0) << train.err;
  fs::create_directories(scratch_ / "source");
  fs::copy(kRoot / "examples/consumer/CMakeLists.txt", scratch_ / "source/CMakeLists.txt");
  std::ofstream(scratch_ / "source/main.cpp") << program_of_snippets();
  const CommandResult run = build_and_run((scratch_ / "source").string(), "consumer");
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  EXPECT_THAT(run.out, testing::EndsWith("done\n"));
}

TEST_F(Snippets, TheTransformerOfTheBookLearns) {
  const CommandResult run =
      build_and_run((kRoot / "examples/train_transformer").string(), "train_transformer");
  ASSERT_EQ(run.code, 0) << run.out << run.err;
  const std::string before = "accuracy on unseen sequences: ";
  const size_t at = run.out.find(before);
  ASSERT_NE(at, std::string::npos) << run.out;
  EXPECT_GT(std::stod(run.out.substr(at + before.size())), 99.0) << run.out;
}

TEST(Documentation, TheBookShowsTheExampleVerbatim) {
  int programs = 0;
  for (const std::string& block : cpp_blocks("docs/cpp.md")) {
    if (!is_program(block)) continue;
    ++programs;
    EXPECT_EQ(block, read_text(kRoot / "examples/train_transformer/main.cpp"));
  }
  EXPECT_EQ(programs, 1);
}

}  // namespace
}  // namespace fovea::house
