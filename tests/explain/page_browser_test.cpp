// Opens the page in headless Chromium. The page drives itself (#selftest) and writes its verdict into the
// document.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "synthetic_page.hpp"

namespace fovea::explain {
namespace {

namespace fs = std::filesystem;

std::string browser() {
  for (const char* path : {"/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"}) {
    if (fs::exists(path)) return path;
  }
  return "";
}

std::string output_of(const std::string& command) {
  std::string text;
  std::array<char, 65536> block{};
  FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return "";
  for (size_t n = 0; (n = fread(block.data(), 1, block.size(), pipe)) > 0;) text.append(block.data(), n);
  pclose(pipe);
  return text;
}

class PageInBrowser : public testing::Test {
 protected:
  void SetUp() override {
    if (browser().empty()) {
      GTEST_SKIP()
          << "no Chromium on this machine, so the page was not opened; run the set-up script to install it";
    }
    folder_ = fs::temp_directory_path() / ("fovea-page-" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override {
    std::error_code ignored;
    if (!folder_.empty()) fs::remove_all(folder_, ignored);
  }

  // Opens the page and returns what the selftest said. Any line on the console, any request and any error
  // fails.
  void open(const PageData& data, int width, const std::string& flags = "") {
    const fs::path path = folder_ / "page.html";
    write_page(path.string(), data);
    const std::string command =
        browser() +
        " --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run"
        " --disable-background-networking --disable-component-update --disable-sync --hide-scrollbars"
        " --user-data-dir=" +
        (folder_ / "profile").string() + " --window-size=" + std::to_string(width) + ",1000 " + flags +
        " --enable-logging=stderr --v=0 --virtual-time-budget=20000 --dump-dom 'file://" + path.string() +
        "#selftest' 2>" + (folder_ / "log").string();
    const std::string dom = output_of("timeout 100 " + command);
    const std::string log = output_of("cat " + (folder_ / "log").string());
    EXPECT_EQ(log.find(":CONSOLE"), std::string::npos) << log;
    const std::string root = dom.substr(0, std::min<size_t>(dom.find("<head>"), 4000));
    EXPECT_EQ(root.find("data-problems"), std::string::npos) << root;
    EXPECT_NE(root.find("data-selftest=\"PASS"), std::string::npos) << root << '\n' << log.substr(0, 2000);
  }

  fs::path folder_;
};

TEST_F(PageInBrowser, ClassifierWorksWide) {
  open(synthetic_page(), 1280);
}

TEST_F(PageInBrowser, LanguageModelWorksNarrowAndDark) {
  // device.
  open(synthetic_page({.tokens = 40, .layers = 2, .heads = 4, .language_model = true}), 390,
       "--force-dark-mode");
}

TEST_F(PageInBrowser, LongInputShowsItsStrongestKeys) {
  PageData data = synthetic_page({.tokens = 2100, .layers = 1, .heads = 2, .examples = 1});
  open(data, 1280);
}

TEST_F(PageInBrowser, ModelWithoutAttentionHasAPage) {
  PageData data = synthetic_page({.tokens = 12, .examples = 1});
  data.examples[0].attention = {};
  open(data, 1280);
}

TEST_F(PageInBrowser, OneTokenOneHead) {
  open(synthetic_page({.tokens = 1, .layers = 1, .heads = 1, .classes = 2, .examples = 1}), 1280);
}

}  // namespace
}  // namespace fovea::explain
