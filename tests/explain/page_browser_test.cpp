// Opens the page in headless Chromium. The page drives itself (#selftest) and writes its verdict into the
// document.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <regex>
#include <string>
#include <vector>

#include "fovea/explain/explain_text.hpp"
#include "fovea/formats/tokenizer.hpp"
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

  // Opens the page, which drives itself, and reads its verdict.
  void open(const PageData& data, int width, const std::string& flags = "") {
    const std::string root = root_of(dom_of(data, width, "selftest", flags));
    EXPECT_NE(root.find("data-selftest=\"PASS"), std::string::npos) << root << '\n' << log_.substr(0, 2000);
  }

  static std::string root_of(const std::string& dom) {
    return dom.substr(0, std::min<size_t>(dom.find("<head>"), 4000));
  }

  // The document as it stands after its scripts have run on what the address says behind its #. Any line on
  // the console, any request and any error fails.
  std::string dom_of(const PageData& data, int width, const std::string& view,
                     const std::string& flags = "") {
    const fs::path path = folder_ / "page.html";
    write_page(path.string(), data);
    const std::string command =
        browser() +
        " --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run"
        " --disable-background-networking --disable-component-update --disable-sync --hide-scrollbars"
        " --user-data-dir=" +
        (folder_ / "profile").string() + " --window-size=" + std::to_string(width) + ",1000 " + flags +
        " --enable-logging=stderr --v=0 --virtual-time-budget=20000 --dump-dom 'file://" + path.string() +
        "#" + view + "' 2>" + (folder_ / "log").string();
    std::string dom = output_of("timeout 100 " + command);
    log_ = output_of("cat " + (folder_ / "log").string());
    EXPECT_EQ(log_.find(":CONSOLE"), std::string::npos) << log_;
    EXPECT_EQ(root_of(dom).find("data-problems"), std::string::npos) << root_of(dom);
    return dom;
  }

  fs::path folder_;
  std::string log_;
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

// What the strip of tokens shows, chip by chip.
std::vector<std::string> chips_in(const std::string& dom) {
  std::vector<std::string> texts;
  const std::regex chip("<span class=\"tok[^>]*><b[^>]*>([^<]*)</b>");
  for (auto it = std::sregex_iterator(dom.begin(), dom.end(), chip); it != std::sregex_iterator(); ++it)
    texts.push_back((*it)[1]);
  return texts;
}

TEST_F(PageInBrowser, WordsOfSeveralTokensAreShownWhole) {
  const std::vector<std::string_view> texts{"the film was a good story and the music was nice",
                                            "the film was a bad story and the acting was poor"};
  // The tokenizers lower letters, mark blanks, and know neither Q nor ï: the page shows what was written.
  const std::string text = "Quentin was naïve, unpretentious and good";
  const std::vector<std::string> whole{"Quentin", "was", "naïve,", "unpretentious", "and", "good"};
  for (const formats::TokenizerKind kind : {formats::TokenizerKind::kUnigram, formats::TokenizerKind::kBpe}) {
    const auto tokenizer = formats::train_tokenizer(texts, {.kind = kind, .vocab_size = 60});
    const std::vector<PageToken> tokens = page_tokens(text, tokenizer->encode(text));
    ASSERT_GT(tokens.size(), whole.size() + 5);
    PageData data = synthetic_page(
        {.tokens = static_cast<int64_t>(tokens.size()), .layers = 1, .heads = 2, .examples = 1});
    data.examples[0].text = text;
    data.examples[0].title = text;
    data.examples[0].tokens = tokens;
    EXPECT_EQ(chips_in(dom_of(data, 1280, "w=1")), whole);
    std::string joined;
    for (const std::string& chip : chips_in(dom_of(data, 1280, "w=0")))
      joined +=
          std::regex_replace(chip, std::regex("·"), "");  // a blank at the end of a token is made visible
    EXPECT_EQ(joined, "Quentinwasnaïve,unpretentiousandgood");
    open(data, 1280);
  }
}

TEST_F(PageInBrowser, OneTokenOneHead) {
  open(synthetic_page({.tokens = 1, .layers = 1, .heads = 1, .classes = 2, .examples = 1}), 1280);
}

}  // namespace
}  // namespace fovea::explain
