#include "fovea/formats/tokenizer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <set>
#include <thread>

#include "formats/tokenizer_kinds.hpp"
#include "fovea/base/error.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/utf8.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fovea::formats {
namespace {

// A folder of this process: test processes run side by side.
const std::filesystem::path& own_folder() {
  static const TemporaryFolder folder;
  return folder.path();
}

constexpr TokenizerKind kAllKinds[] = {TokenizerKind::kBytes, TokenizerKind::kCharacters,
                                       TokenizerKind::kWords, TokenizerKind::kUnigram, TokenizerKind::kBpe};

// A text of a few thousand sentences with words of a skewed frequency.
const std::vector<std::string>& corpus() {
  static const std::vector<std::string> texts = [] {
    const std::vector<std::string> words{"the",      "reader",   "opens",  "a",     "library", "of",
                                         "packages", "network",  "server", "tools", "drawing", "graphs",
                                         "python",   "bindings", "für",    "Größe", "naïve",   "données",
                                         "日本語",   "and",      "fast"};
    std::vector<std::string> made;
    Random random(7);
    for (int i = 0; i < 2000; ++i) {
      std::string text;
      for (uint64_t n = 3 + random.below(9); n > 0; --n) {
        const uint64_t a = random.below(words.size());
        text += words[std::min(a, random.below(words.size()))];
        if (random.below(6) == 0) text += "s";
        text += n == 1 ? "." : " ";
      }
      made.push_back(text);
    }
    return made;
  }();
  return texts;
}

std::vector<std::string_view> views(const std::vector<std::string>& texts) {
  return {texts.begin(), texts.end()};
}

std::unique_ptr<Tokenizer> trained(TokenizerKind kind) {
  TokenizerOptions options;
  options.kind = kind;
  options.vocab_size = 300;
  return train_tokenizer(views(corpus()), options);
}

const Tokenizer& shared(TokenizerKind kind) {
  static std::array<std::unique_ptr<Tokenizer>, 5> made;
  auto& slot = made[static_cast<size_t>(kind)];
  if (!slot) slot = trained(kind);
  return *slot;
}

void expect_sound(const Encoding& encoding, std::string_view text, bool whole_characters = false) {
  ASSERT_EQ(encoding.ids.size(), encoding.spans.size());
  std::vector<bool> border(text.size() + 1, !whole_characters);
  for (int64_t at = 0; at < static_cast<int64_t>(text.size()); at += decode_utf8(text, at).length)
    border[static_cast<size_t>(at)] = true;
  border.back() = true;
  int64_t last = 0;
  for (const Span span : encoding.spans) {
    EXPECT_TRUE(border[static_cast<size_t>(span.begin)] && border[static_cast<size_t>(span.end)]);
    EXPECT_LE(last, span.begin);
    EXPECT_LE(span.begin, span.end);
    EXPECT_LE(span.end, static_cast<int64_t>(text.size()));
    last = span.end;
  }
}

class EveryTokenizer : public testing::TestWithParam<TokenizerKind> {};

TEST_P(EveryTokenizer, SpansAreInOrderWithinTheText) {
  const Tokenizer& tokenizer = shared(GetParam());
  for (const std::string_view text :
       {"", " ", "a", "the reader opens", "  two  spaces ", "Größe naïve 日本語 données",
        "\xFF\xFE broken \xC3", "e\xCC\x81t\xC3\xA9", "unbekannt ☃ snow ☃☃", "line\nbreak\ttab",
        "ﬁ ½ Ⅷ fullwidth ＡＢＣ", "㎏ ﷺ 👩‍👩‍👧 🇩🇪", "ᄀ\u1161\u11a8 o\u0308\u200d"}) {
    const bool whole = GetParam() != TokenizerKind::kBytes;
    expect_sound(tokenizer.encode(text), text, whole);
    for (const double strength : {0.0, 0.1, 1.0}) {
      expect_sound(tokenizer.encode(text, {strength, {3, 4}}), text, whole);
    }
    EXPECT_EQ(tokenizer.encode(text).ids, tokenizer.encode_ids(text)) << text;
    for (const int32_t id : tokenizer.encode_ids(text)) {
      EXPECT_GE(id, 0);
      EXPECT_LT(id, tokenizer.vocab_size());
      EXPECT_FALSE(tokenizer.piece(id).empty());
    }
  }
  EXPECT_TRUE(tokenizer.encode("").ids.empty());
}

TEST_P(EveryTokenizer, SavedAndLoadedGivesTheSame) {
  const Tokenizer& tokenizer = shared(GetParam());
  const auto folder = own_folder() / "tokenizer_round_trip";
  std::filesystem::create_directories(folder);
  tokenizer.save(folder);
  const auto loaded = Tokenizer::load(folder);
  EXPECT_EQ(loaded->kind(), GetParam());
  EXPECT_EQ(loaded->vocab_size(), tokenizer.vocab_size());
  EXPECT_EQ(loaded->to_json(), tokenizer.to_json());
  EXPECT_EQ(loaded->unk_id(), tokenizer.unk_id());
  EXPECT_EQ(loaded->bos_id(), tokenizer.bos_id());
  EXPECT_EQ(loaded->eos_id(), tokenizer.eos_id());
  EXPECT_EQ(loaded->cls_id(), tokenizer.cls_id());
  for (size_t i = 0; i < 50; ++i) {
    const Encoding a = tokenizer.encode(corpus()[i]);
    const Encoding b = loaded->encode(corpus()[i]);
    EXPECT_EQ(a.ids, b.ids);
    EXPECT_EQ(a.spans, b.spans);
    const Sampling sampling{0.2, {1, i}};
    EXPECT_EQ(tokenizer.encode(corpus()[i], sampling).ids, loaded->encode(corpus()[i], sampling).ids);
  }
}

TEST_P(EveryTokenizer, TrainingTwiceGivesTheSame) {
  EXPECT_EQ(trained(GetParam())->to_json(), shared(GetParam()).to_json());
}

TEST_P(EveryTokenizer, TrainingSaysNothing) {
  testing::internal::CaptureStderr();
  testing::internal::CaptureStdout();
  trained(GetParam());
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
}

TEST_P(EveryTokenizer, DecodesItsOwnTraining) {
  const Tokenizer& tokenizer = shared(GetParam());
  if (GetParam() == TokenizerKind::kWords) return;  // joined by spaces: see its own test
  for (size_t i = 0; i < 100; ++i)
    EXPECT_EQ(tokenizer.decode(tokenizer.encode_ids(corpus()[i])), corpus()[i]);
}

TEST_P(EveryTokenizer, IdOutsideTheVocabularyIsRefused) {
  const Tokenizer& tokenizer = shared(GetParam());
  const auto size = static_cast<int32_t>(tokenizer.vocab_size());
  EXPECT_THROW(tokenizer.piece(size), ArgumentError);
  EXPECT_THROW(tokenizer.piece(-1), ArgumentError);
  const int32_t bad[] = {size};
  EXPECT_THROW(tokenizer.decode(bad), ArgumentError);
}

TEST_P(EveryTokenizer, SpecialTokensDecodeToNothing) {
  const Tokenizer& tokenizer = shared(GetParam());
  const int32_t ids[] = {tokenizer.bos_id(), tokenizer.cls_id(), tokenizer.eos_id()};
  for (const int32_t id : ids) EXPECT_GE(id, 0);
  EXPECT_EQ(tokenizer.decode(ids), "");
}

TEST_P(EveryTokenizer, ThreadsEncodeAlike) {
  const Tokenizer& tokenizer = shared(GetParam());
  std::vector<std::vector<int32_t>> wanted;
  for (size_t i = 0; i < 200; ++i) wanted.push_back(tokenizer.encode(corpus()[i], {0.1, {9, i}}).ids);
  std::vector<std::thread> threads;
  std::array<int, 4> wrong{};
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < 200; ++i)
        wrong[t] += tokenizer.encode(corpus()[i], {0.1, {9, i}}).ids != wanted[i];
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_THAT(wrong, testing::Each(0));
}

TEST_P(EveryTokenizer, LongTextIsEncoded) {
  std::string text;
  while (text.size() < 1'000'000) text += corpus()[text.size() % corpus().size()] + "\n";
  const Tokenizer& tokenizer = shared(GetParam());
  expect_sound(tokenizer.encode(text), text);
}

TEST_P(EveryTokenizer, FlippedByteIsFound) {
  const std::string json = shared(GetParam()).to_json();
  // A place inside the model: any change there must be caught by the checksum, or be no JSON.
  const size_t start = json.find("\"model\"");
  for (size_t i = start + 10; i < json.size() - 3; i += 1 + json.size() / 40) {
    std::string damaged = json;
    damaged[i] = damaged[i] == 'A' ? 'B' : 'A';
    EXPECT_THROW(Tokenizer::parse(damaged, "tokenizer.json"), DataError) << i;
  }
  for (size_t size = 0; size + 2 < json.size(); size += 1 + json.size() / 40) {
    EXPECT_THROW(Tokenizer::parse(json.substr(0, size), "tokenizer.json"), DataError) << size;
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, EveryTokenizer, testing::ValuesIn(kAllKinds),
                         [](const auto& kind) { return std::string(to_string(kind.param)); });

TEST(ByteTokenizer, ByteIsItsId) {
  TokenizerOptions options{.kind = TokenizerKind::kBytes};
  const auto tokenizer = train_tokenizer({}, options);
  EXPECT_THAT(tokenizer->encode_ids("a\xFF\n"), testing::ElementsAre(97, 255, 10));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode_ids("a\xFF\n")), "a\xFF\n");
  EXPECT_EQ(tokenizer->piece(10), "<0x0A>");
  EXPECT_EQ(tokenizer->piece(97), "a");
  EXPECT_EQ(tokenizer->vocab_size(), 259);
  options.special_tokens = false;
  EXPECT_EQ(train_tokenizer({}, options)->vocab_size(), 256);
  EXPECT_EQ(train_tokenizer({}, options)->bos_id(), -1);
}

TEST(CharacterTokenizer, MostFrequentComesFirst) {
  const std::vector<std::string_view> texts{"bbbaaacé", "b"};
  TokenizerOptions options{.kind = TokenizerKind::kCharacters};
  const auto tokenizer = train_tokenizer(texts, options);
  EXPECT_EQ(tokenizer->vocab_size(), 8);
  EXPECT_THAT(tokenizer->encode_ids("bacé?"), testing::ElementsAre(4, 5, 6, 7, 0));
  EXPECT_EQ(tokenizer->encode("éb").spans, (std::vector<Span>{{0, 2}, {2, 3}}));
  options.min_count = 2;
  EXPECT_EQ(train_tokenizer(texts, options)->vocab_size(), 6);
  options.vocab_size = 5;
  EXPECT_EQ(train_tokenizer(texts, options)->vocab_size(), 5);
  options.special_tokens = false;
  EXPECT_EQ(train_tokenizer(texts, options)->encode_ids("b"), std::vector<int32_t>{1});
}

TEST(WordTokenizer, LooksUpTheFoldedWordAtItsPlace) {
  const std::vector<std::string_view> texts{"Can't stop. Can't STOP", "can't"};
  TokenizerOptions options{.kind = TokenizerKind::kWords};
  options.lowercase = true;
  const auto tokenizer = train_tokenizer(texts, options);
  const Encoding encoding = tokenizer->encode("  can't  go.");
  EXPECT_THAT(encoding.ids, testing::ElementsAre(4, 0, 6));
  EXPECT_EQ(encoding.spans, (std::vector<Span>{{2, 7}, {9, 11}, {11, 12}}));
  EXPECT_EQ(tokenizer->decode(encoding.ids), "can't \xEF\xBF\xBD .");
}

TEST(WordTokenizer, TextThatReadsLikeASpecialTokenIsNone) {
  const std::vector<std::string_view> texts{"a b"};
  const auto tokenizer = train_tokenizer(texts, {.kind = TokenizerKind::kWords});
  for (const int32_t id : tokenizer->encode_ids("<s> </s> <cls>")) EXPECT_EQ(id, tokenizer->unk_id());
}

TEST(SentencePiece, SpansGiveTheOriginalText) {
  const Tokenizer& tokenizer = shared(TokenizerKind::kUnigram);
  // nmt_nfkc turns the full-width letters and the ligature into plain ones; the spans stay in the original.
  const std::string text = "the reader ＡＢ naïve";
  const Encoding encoding = tokenizer.encode(text);
  std::string joined;
  for (const Span span : encoding.spans) {
    joined += text.substr(static_cast<size_t>(span.begin), static_cast<size_t>(span.end - span.begin));
  }
  EXPECT_EQ(joined, text);
}

TEST(SentencePiece, SamplingWithoutChanceIsTheBestSegmentation) {
  for (size_t i = 0; i < 200; ++i) {
    const std::string& text = corpus()[i];
    const Tokenizer& bpe = shared(TokenizerKind::kBpe);
    const Encoding merged = bpe.encode(text, {0.0, {1, i}});
    EXPECT_EQ(merged.ids, bpe.encode(text).ids) << text;
    EXPECT_EQ(merged.spans, bpe.encode(text).spans) << text;
    const Tokenizer& unigram = shared(TokenizerKind::kUnigram);
    const Encoding drawn = unigram.encode(text, {1000.0, {1, i}});  // so sharp that only the best is left
    EXPECT_EQ(drawn.ids, unigram.encode(text).ids) << text;
    EXPECT_EQ(drawn.spans, unigram.encode(text).spans) << text;
  }
}

TEST(SentencePiece, SamplingVariesWithTheKeyAndKeepsTheText) {
  for (const TokenizerKind kind : {TokenizerKind::kUnigram, TokenizerKind::kBpe}) {
    const Tokenizer& tokenizer = shared(kind);
    const std::string& text = corpus()[3];
    std::set<std::vector<int32_t>> seen;
    // Twenty words give the unigram model such good whole words that only a low strength departs from them.
    const double strength = kind == TokenizerKind::kBpe ? 0.2 : 0.02;
    for (uint64_t i = 0; i < 50; ++i) {
      const auto ids = tokenizer.encode(text, {strength, {5, i}}).ids;
      EXPECT_EQ(ids, tokenizer.encode(text, {strength, {5, i}}).ids);
      EXPECT_EQ(tokenizer.decode(ids), text);
      seen.insert(ids);
    }
    EXPECT_GT(seen.size(), 10u);
  }
}

TEST(SentencePiece, SmallTextGivesASmallVocabulary) {
  for (const TokenizerKind kind : {TokenizerKind::kUnigram, TokenizerKind::kBpe}) {
    for (const std::string_view text : {"a", "ab ab", "日本 語", "aaaa aaaa aaaa"}) {
      TokenizerOptions options{.kind = kind};
      const auto tokenizer = train_tokenizer({&text, 1}, options);
      EXPECT_LT(tokenizer->vocab_size(), 100);
      EXPECT_EQ(tokenizer->decode(tokenizer->encode_ids(text)), text);
    }
  }
}

TEST(SentencePiece, MoreCharactersThanVocabularySaysSo) {
  std::string text;
  for (char c = 'a'; c <= 'z'; ++c) text += std::string(3, c) + " ";
  const std::string_view view = text;
  TokenizerOptions options{.kind = TokenizerKind::kUnigram};
  options.vocab_size = 10;
  EXPECT_THROW(train_tokenizer({&view, 1}, options), DataError);
}

TEST(TrainTokenizer, NothingToTrainOnIsADataError) {
  const std::vector<std::string_view> blank{"", "  \n\t "};
  for (const TokenizerKind kind : {TokenizerKind::kWords, TokenizerKind::kUnigram, TokenizerKind::kBpe}) {
    EXPECT_THROW(train_tokenizer(blank, {.kind = kind}), DataError) << to_string(kind);
    EXPECT_THROW(train_tokenizer({}, {.kind = kind}), DataError) << to_string(kind);
  }
}

TEST(Tokenizer, OtherJsonIsRefused) {
  for (const char* text :
       {"", "{}", "[]", "null", "{\"format\":1}", "{\"format\":\"fovea-tokenizer\"}",
        "{\"format\":\"fovea-tokenizer\",\"version\":9,\"kind\":\"bytes\",\"crc32c\":\"0\",\"model\":{}}"}) {
    EXPECT_THROW(Tokenizer::parse(text, "t.json"), DataError) << text;
  }
  EXPECT_THROW(Tokenizer::load("/nowhere/tokenizer.json"), DataError);
  EXPECT_THROW(load_sentencepiece_model("no model", "x.model"), DataError);
  EXPECT_THROW(load_sentencepiece_model("", "x.model"), DataError);
  EXPECT_THROW(tokenizer_kind("word"), ArgumentError);
}

}  // namespace
}  // namespace fovea::formats
