#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "fovea/base/random.hpp"
#include "fovea/explain/explain_text.hpp"
#include "fovea/formats/utf8.hpp"

namespace fovea::explain {
namespace {

using formats::TokenizerKind;

constexpr TokenizerKind kAllKinds[] = {TokenizerKind::kBytes, TokenizerKind::kCharacters,
                                       TokenizerKind::kWords, TokenizerKind::kUnigram, TokenizerKind::kBpe};

const formats::Tokenizer& tokenizer_of(TokenizerKind kind) {
  static std::array<std::unique_ptr<formats::Tokenizer>, 5> made;
  auto& slot = made[static_cast<size_t>(kind)];
  if (!slot) {
    const std::vector<std::string_view> texts{"the film was a good story and the music was nice",
                                              "the film was a bad story and the acting was poor",
                                              "a fine naïve 日本 film"};
    slot =
        formats::train_tokenizer(texts, {.kind = kind, .vocab_size = kind == TokenizerKind::kWords ? 0 : 60});
  }
  return *slot;
}

std::string slice(std::string_view text, int64_t begin, int64_t end) {
  return std::string(text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
}

std::vector<std::string> words_in(std::string_view text, TokenizerKind kind) {
  std::vector<std::string> words;
  for (const PageWord& word : page_words(page_tokens(text, tokenizer_of(kind).encode(text))))
    words.push_back(word.text);
  return words;
}

// What holds of any text, cut after any number of tokens.
void expect_slices(std::string_view text, const formats::Encoding& encoding) {
  std::vector<bool> border(text.size() + 1);
  for (int64_t at = 0; at < static_cast<int64_t>(text.size()); at += formats::decode_utf8(text, at).length)
    border[static_cast<size_t>(at)] = true;
  border.back() = true;

  const std::vector<PageToken> tokens = page_tokens(text, encoding);
  ASSERT_EQ(tokens.size(), encoding.ids.size());
  std::string joined;
  for (size_t t = 0; t < tokens.size(); ++t) {
    const PageToken& token = tokens[t];
    ASSERT_LE(0, token.begin);
    ASSERT_LT(token.begin, token.end);
    ASSERT_LE(token.end, static_cast<int64_t>(text.size()));
    ASSERT_TRUE(border[static_cast<size_t>(token.begin)]) << t;
    ASSERT_TRUE(border[static_cast<size_t>(token.end)]) << t;
    ASSERT_LE(token.begin, encoding.spans[t].begin);
    ASSERT_GE(token.end, encoding.spans[t].end);
    if (t > 0) {
      const PageToken& previous = tokens[t - 1];
      const bool shared = previous.begin == token.begin && previous.end == token.end;
      ASSERT_TRUE(shared || previous.end <= token.begin) << t;
      ASSERT_EQ(token.text.empty(), shared) << t;
      ASSERT_TRUE(token.word == previous.word || token.word == previous.word + 1);
      if (shared) {
        ASSERT_EQ(token.word, previous.word);
      }
    } else {
      ASSERT_EQ(token.word, 0);
      ASSERT_FALSE(token.text.empty());
    }
    joined += token.text;
  }
  ASSERT_EQ(joined, slice(text, 0, tokens.empty() ? 0 : tokens.back().end));
  size_t after = 0;
  for (const PageWord& word : page_words(tokens)) {
    ASSERT_FALSE(word.text.empty());
    const size_t at = text.find(word.text, after);
    ASSERT_NE(at, std::string_view::npos) << word.text;
    after = at + word.text.size();
  }
}

class PageTokensOf : public testing::TestWithParam<TokenizerKind> {};

TEST_P(PageTokensOf, AreSlicesOfTheTextWhereverItIsCut) {
  for (const std::string text :
       {"", " ", "Quentin was good", "5 good", "ﬁne film", "㎏ good", "  two   spaces ",
        "e\u0301te\u0301 naïve", "👩‍👩‍👧‍👦 family 🇩🇪", "ﬃ½Ⅷ ＡＢＣ",
        "wide　space\u00a0hard", "line\nbreak\ttab\r\n", "\xFF\xFE broken \xC3", "日本語 と"}) {
    const formats::Encoding whole = tokenizer_of(GetParam()).encode(text);
    for (size_t length = 0; length <= whole.ids.size(); ++length) {
      formats::Encoding cut = whole;
      cut.ids.resize(length);
      cut.spans.resize(length);
      expect_slices(text, cut);
      if (HasFatalFailure()) FAIL() << '"' << text << "\" cut after " << length;
    }
  }
}

TEST_P(PageTokensOf, AreSlicesOfRandomTexts) {
  // Letters, blanks, marks that combine, joiners, ligatures and squares that NFKC takes apart, emoji, jamo
  // that NFKC puts together, controls, and now and then any character at all.
  const std::u32string common =
      U"abf  \u3000\u00a0\u0301\u0308\u200d\ufb01\ufb03\u338f\u3300\ufdfa\U0001f469\U0001f1e9"
      U"\u1100\u1161\u11a8\u00ad\u0000\u0007\n\u2581\u0130\u00df\ufffd";
  Random random(11);
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    for (uint64_t n = random.below(24); n > 0; --n) {
      const uint64_t any = random.below(8);
      if (any == 0) {
        formats::append_utf8(text, static_cast<char32_t>(random.below(0x110000)));
      } else if (any == 1) {
        text += static_cast<char>(random.below(256));
      } else {
        formats::append_utf8(text, common[random.below(common.size())]);
      }
    }
    expect_slices(text, tokenizer_of(GetParam()).encode(text));
    if (HasFatalFailure()) FAIL() << "text " << i << ": " << testing::PrintToString(text);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, PageTokensOf, testing::ValuesIn(kAllKinds),
                         [](const auto& kind) { return std::string(formats::to_string(kind.param)); });

TEST(PageWords, AreTheWordsThatWereWritten) {
  using Words = std::vector<std::string>;
  for (const TokenizerKind kind : kAllKinds) {
    EXPECT_EQ(words_in("Quentin was good", kind), (Words{"Quentin", "was", "good"}));
    EXPECT_EQ(words_in("5 good", kind), (Words{"5", "good"}));
    EXPECT_EQ(words_in("ﬁne film", kind), (Words{"ﬁne", "film"}));
    EXPECT_EQ(words_in("㎏ good", kind), (Words{"㎏", "good"}));
    EXPECT_EQ(words_in("  two   spaces ", kind), (Words{"two", "spaces"}));
    EXPECT_EQ(words_in("wide　space\u00a0hard", kind), (Words{"wide", "space", "hard"}));
    EXPECT_EQ(words_in("e\u0301te\u0301 👩‍👩‍👧", kind),
              (Words{"e\u0301te\u0301", "👩‍👩‍👧"}));
    EXPECT_EQ(words_in("", kind), Words{});
    EXPECT_EQ(words_in("   ", kind), Words{});
  }
}

TEST(PageWords, KnowTheirTokens) {
  const std::string text = "a quiet film, it never";
  const std::vector<PageToken> tokens = page_tokens(text, tokenizer_of(TokenizerKind::kWords).encode(text));
  ASSERT_EQ(tokens.size(), 6U);
  EXPECT_EQ(tokens[1].text, " quiet");
  EXPECT_EQ(tokens[3].text, ",");
  EXPECT_EQ(tokens[3].word, 2);
  EXPECT_EQ(tokens[5].word, 4);
  EXPECT_EQ(text.substr(static_cast<size_t>(tokens[5].begin)), "never");
  const std::vector<PageWord> words = page_words(tokens);
  ASSERT_EQ(words.size(), 5U);
  EXPECT_EQ(words[2].text, "film,");
  EXPECT_EQ(words[2].first, 2U);
  EXPECT_EQ(words[2].last, 4U);
}

}  // namespace
}  // namespace fovea::explain
