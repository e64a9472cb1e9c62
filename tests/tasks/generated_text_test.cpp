// What a language model writes is text: no special token, no part of a character.
#include <gtest/gtest.h>

#include <array>

#include "fovea/formats/utf8.hpp"
#include "fovea/tasks/generation.hpp"
#include "tasks/allowed_tokens.hpp"

namespace fovea::tasks {
namespace {

using formats::TokenizerKind;

constexpr TokenizerKind kAllKinds[] = {TokenizerKind::kBytes, TokenizerKind::kCharacters,
                                       TokenizerKind::kWords, TokenizerKind::kUnigram, TokenizerKind::kBpe};

// Untrained, so that every token is drawn.
TextGenerator generator(TokenizerKind kind) {
  TextGenerator g;
  const std::vector<std::string_view> texts{"to be or not to be, naïve 日本語 👩‍👩‍👧"};
  g.tokenizer =
      formats::train_tokenizer(texts, {.kind = kind, .vocab_size = kind == TokenizerKind::kWords ? 0 : 60});
  models::LanguageModelConfig config;
  config.kind = models::ModelKind::kAttention;
  config.vocab_size = g.tokenizer->vocab_size();
  config.layers = 1;
  config.width = 16;
  config.heads = 2;
  config.feed_forward = 16;
  config.context = 16;
  g.network = std::make_shared<models::LanguageModel>(config, 5);
  return g;
}

class GeneratedText : public testing::TestWithParam<TokenizerKind> {};

TEST_P(GeneratedText, HasNoSpecialTokenAndNoPartOfACharacter) {
  const TextGenerator g = generator(GetParam());
  size_t written = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    for (const double temperature : {0.0, 0.5, 1.0, 3.0, 1e9}) {
      for (const int64_t length : {1, 2, 3, 30}) {
        const GenerateOptions options{
            .max_tokens = length, .sampler = {.temperature = temperature}, .seed = seed};
        std::string last;
        const auto text = g.generate("to", options, [&](std::string_view so_far) {
          EXPECT_EQ(formats::find_invalid_utf8(so_far), -1);
          EXPECT_EQ(so_far.substr(0, last.size()), last);
          last = so_far;
          return true;
        });
        ASSERT_EQ(text, last);
        ASSERT_EQ(text.find("\uFFFD"), std::string::npos) << text;
        written += text.size();
      }
    }
  }
  EXPECT_GT(written, 1000U);
}

INSTANTIATE_TEST_SUITE_P(Kinds, GeneratedText, testing::ValuesIn(kAllKinds),
                         [](const auto& kind) { return std::string(formats::to_string(kind.param)); });

// "to be", not "tobe": the blank between the prompt's last word and the first new one is part of the text.
TEST(GeneratedWords, KeepTheBlankAfterThePrompt) {
  const TextGenerator words = generator(TokenizerKind::kWords);
  const std::string text = words.generate("to", {.max_tokens = 2, .sampler = {.temperature = 0}});
  ASSERT_FALSE(text.empty());
  EXPECT_EQ(text[0], ' ') << text;
  const TextGenerator pieces = generator(TokenizerKind::kUnigram);
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const std::string more = pieces.generate("to", {.max_tokens = 6, .seed = seed});
    const auto ids = pieces.tokenizer->encode_ids("to" + more);
    EXPECT_EQ(pieces.tokenizer->decode(ids), "to" + more) << "as a reader would write it";
  }
}

// Every sequence of at most three bytes that the rules allow begins valid UTF-8, and no other does.
TEST(AllowedTokens, FollowUtf8) {
  const auto tokenizer = formats::train_tokenizer({}, {.kind = TokenizerKind::kBytes});
  const auto allowed_after = [&](const std::string& bytes) {
    AllowedTokens allowed(*tokenizer);
    for (const char c : bytes) allowed.follow(static_cast<unsigned char>(c));
    std::vector<float> logits(259);
    EXPECT_TRUE(allowed.restrict_to(logits));
    EXPECT_EQ(logits[257], 0.0F);  // the end may always come
    EXPECT_LT(logits[256], 0.0F);
    EXPECT_LT(logits[258], 0.0F);
    return logits;
  };
  // Valid when some way to go on gives a valid character: every value of the bytes that are missing is tried.
  const auto begins_character = [](const std::string& bytes) {
    for (const char* rest :
         {"", "\x80", "\x90", "\xA0", "\x80\x80", "\x90\x80", "\xA0\x80", "\x80\x80\x80", "\x90\x80\x80"}) {
      const std::string text = bytes + rest;
      const formats::CodePoint point = formats::decode_utf8(text, 0);
      if (point.valid && point.length == static_cast<int64_t>(text.size())) return true;
    }
    return false;
  };
  std::vector<std::string> open{""};
  for (int length = 1; length <= 3; ++length) {
    std::vector<std::string> longer;
    for (const std::string& bytes : open) {
      const std::vector<float> logits = allowed_after(bytes);
      for (int b = 0; b < 256; ++b) {
        const std::string next = bytes + static_cast<char>(b);
        ASSERT_EQ(logits[static_cast<size_t>(b)] == 0.0F, begins_character(next))
            << testing::PrintToString(next);
        const formats::CodePoint point = formats::decode_utf8(next, 0);
        const bool whole = point.valid && point.length == length;
        if (logits[static_cast<size_t>(b)] == 0.0F && !whole && b % 5 == 0) longer.push_back(next);
      }
    }
    for (const char* edge : {"\xE0", "\xED", "\xF0", "\xF4"})
      if (length == 1) longer.push_back(edge);
    open = longer;
  }
}

TEST(AllowedTokens, NothingButTheUnknownGivesNoText) {
  TextGenerator g = generator(TokenizerKind::kCharacters);
  const std::string_view text = "ab";
  g.tokenizer = formats::train_tokenizer(
      {&text, 1},
      {.kind = TokenizerKind::kCharacters, .vocab_size = 0, .min_count = 2, .special_tokens = false});
  ASSERT_EQ(g.tokenizer->vocab_size(), 1);
  models::LanguageModelConfig config = g.network->config();
  config.vocab_size = 1;
  g.network = std::make_shared<models::LanguageModel>(config, 5);
  EXPECT_EQ(g.generate("a", {.max_tokens = 5}), "");
}

}  // namespace
}  // namespace fovea::tasks
