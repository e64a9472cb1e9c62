#include "fovea/explain/page.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "explain/encoding.hpp"
#include "explain/quantise.hpp"
#include "fovea/base/error.hpp"
#include "synthetic_page.hpp"

namespace fovea::explain {
namespace {

using testing::AllOf;
using testing::HasSubstr;

nlohmann::json data_of(const std::string& page) {
  const std::string begin = "id=\"page-data\">";
  const size_t from = page.find(begin) + begin.size();
  return nlohmann::json::parse(page.substr(from, page.find("</script>", from) - from));
}

TEST(Page, StaysUnderTwoMegabytesFor256TokensOf36Heads) {
  for (const bool language_model : {false, true}) {
    const std::string page = render_page(synthetic_page({.tokens = 256,
                                                         .layers = 6,
                                                         .heads = 6,
                                                         .classes = 20,
                                                         .examples = 1,
                                                         .language_model = language_model}));
    EXPECT_LT(page.size(), 2'000'000U);
    EXPECT_EQ(data_of(page)["examples"][0]["attention"]["topK"], 0);  // every row is whole
  }
}

TEST(Page, NamesNoOtherFileAndAsksForNoNetwork) {
  const std::string page = render_page(synthetic_page());
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  // The only addresses are names of XML namespaces, which nobody fetches.
  size_t at = 0;
  while ((at = page.find("://", at)) != std::string::npos) {
    EXPECT_EQ(page.substr(at - 4, 21), "http://www.w3.org/200") << page.substr(at - 40, 80);
    ++at;
  }
  for (const char* word : {"fetch(", "XMLHttpRequest", "WebSocket", "import(", "@import", "url(", "src="}) {
    EXPECT_EQ(page.find(word), std::string::npos) << word;
  }
}

TEST(Page, TextCannotEndItsScript) {
  PageData data;
  data.title = "</title><script>alert(1)</script>";
  data.examples.push_back({});
  data.examples[0].text = "</script><script>alert(2)</script>\xff";
  const std::string page = render_page(data);
  EXPECT_EQ(page.find("<script>alert"), std::string::npos);
  EXPECT_EQ(data_of(page)["examples"][0]["text"], "</script><script>alert(2)</script>\uFFFD");
}

TEST(Page, SeedKeepsItsSixtyFourBits) {
  PageData data;
  data.model.seed = 18446744073709551615ULL;
  EXPECT_EQ(data_of(render_page(data))["model"]["seed"], "18446744073709551615");
}

TEST(Page, RefusesSizesThatDoNotAgree) {
  const auto message = [](const PageData& data) -> std::string {
    try {
      render_page(data);
    } catch (const ArgumentError& e) {
      return e.what();
    }
    return "no error";
  };
  PageData data = synthetic_page({.tokens = 5, .layers = 1, .heads = 1, .examples = 1});
  data.examples[0].relevance[0].values.pop_back();
  EXPECT_EQ(message(data), "[render_page] expected one value of rollout for each of 5 tokens, got 4");
  data = synthetic_page({.tokens = 5, .layers = 1, .heads = 1, .examples = 1});
  data.examples[0].next.resize(3);
  EXPECT_EQ(message(data),
            "[render_page] expected next-token candidates for each of 5 tokens or for none, got 3");
  data = synthetic_page({.tokens = 5, .layers = 2, .heads = 3, .examples = 1});
  data.examples[0].attention.rows = nullptr;
  EXPECT_EQ(message(data), "[render_page] expected attention.rows with 2 layers of 3 heads, got none");
  data = synthetic_page({.tokens = 5, .layers = 1, .heads = 1, .classes = 3, .examples = 1});
  data.quality.confusion.pop_back();
  EXPECT_EQ(message(data), "[render_page] expected a confusion matrix of 3 × 3 classes, got 8 cells");
  data = synthetic_page({.tokens = 5, .layers = 1, .heads = 1, .examples = 1});
  data.quality.curves[0].value.pop_back();
  EXPECT_EQ(message(data), "[render_page] expected as many steps as values of loss, got 41 and 40");
}

TEST(Page, IsWrittenWholeOrNotAtAll) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("fovea-page-test-" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  const std::string path = (folder / "page.html").string();
  const PageData data = synthetic_page({.tokens = 9, .layers = 1, .heads = 2, .examples = 1});
  write_page(path, data);
  std::ifstream file(path, std::ios::binary);
  const std::string written((std::istreambuf_iterator<char>(file)), {});
  EXPECT_EQ(written, render_page(data));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
  try {
    write_page((folder / "missing" / "page.html").string(), data);
    FAIL();
  } catch (const DataError& e) {
    EXPECT_THAT(e.what(), AllOf(HasSubstr("missing/page.html"), HasSubstr("folder does not exist")));
  }
  std::filesystem::remove_all(folder);
}

TEST(Base64, MatchesPublishedVectors) {  // RFC 4648, section 10
  const auto encoded = [](std::string_view s) {
    return base64({reinterpret_cast<const uint8_t*>(s.data()), s.size()});
  };
  EXPECT_EQ(encoded(""), "");
  EXPECT_EQ(encoded("f"), "Zg==");
  EXPECT_EQ(encoded("fo"), "Zm8=");
  EXPECT_EQ(encoded("foo"), "Zm9v");
  EXPECT_EQ(encoded("foob"), "Zm9vYg==");
  EXPECT_EQ(encoded("fooba"), "Zm9vYmE=");
  EXPECT_EQ(encoded("foobar"), "Zm9vYmFy");
}

TEST(Quantiser, StaysWithinItsStatedError) {
  Random random(3);
  for (const Quantiser& q : kQuantisers) {
    for (int i = 0; i < 20000; ++i) {
      const auto w = static_cast<float>(std::exp(-20 * random.uniform_double()));
      const double back = q.decode(q.encode(w));
      // 1e-7: the float32 weight itself.
      EXPECT_LE(std::abs(back - w), q.error(w) + 1e-7) << w << ' ' << q.power << ' ' << q.maximum;
    }
    EXPECT_EQ(q.decode(q.encode(0)), 0);
    EXPECT_EQ(q.decode(q.encode(1)), 1);
  }
}

}  // namespace
}  // namespace fovea::explain
