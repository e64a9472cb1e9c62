#include "formats/segmentation.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "formats/sentencepiece_sampler.hpp"
#include "formats/sentencepiece_trainer.hpp"

namespace fovea::formats {
namespace {

PieceModel model_of(const std::vector<std::pair<std::string, float>>& pieces) {
  PieceModel model;
  for (const auto& [piece, score] : pieces) {
    model.trie.add(piece, static_cast<int32_t>(model.scores.size()));
    model.scores.push_back(score);
  }
  model.unknown_score = -20.0f;
  return model;
}

Units units_of(std::string text) {
  Units units;
  units.text = std::move(text);
  for (size_t i = 1; i <= units.text.size(); ++i) units.offsets.push_back(static_cast<int32_t>(i));
  return units;
}

std::string joined(const std::vector<Segment>& segments, const Units& units) {
  std::string text;
  for (const Segment& segment : segments) {
    if (!text.empty()) text += '|';
    text += units.text.substr(segment.begin, segment.end - segment.begin);
  }
  return text;
}

TEST(PieceTrie, FindsWhatWasAddedAndNothingElse) {
  PieceTrie trie;
  std::vector<std::string> pieces;
  for (int i = 0; i < 5000; ++i) pieces.push_back(std::to_string(i * 7) + "p");
  for (size_t i = 0; i < pieces.size(); ++i) trie.add(pieces[i], static_cast<int32_t>(i));
  const auto find = [&](std::string_view text) {
    int32_t node = PieceTrie::kRoot;
    for (const char c : text) {
      node = trie.step(node, static_cast<unsigned char>(c));
      if (node < 0) return -1;
    }
    return trie.piece(node);
  };
  for (size_t i = 0; i < pieces.size(); ++i) EXPECT_EQ(find(pieces[i]), static_cast<int32_t>(i));
  EXPECT_EQ(find("1p"), -1);
  EXPECT_EQ(find("q"), -1);
  EXPECT_EQ(find(""), -1);
}

// Every segmentation is drawn as often as its probability says, at any strength.
TEST(SampleUnigram, DrawsByProbability) {
  const PieceModel model =
      model_of({{"a", -2.0f}, {"b", -2.5f}, {"c", -1.5f}, {"ab", -3.0f}, {"bc", -2.0f}, {"abc", -4.0f}});
  const Units units = units_of("abc");
  const std::map<std::string, double> scores{{"a|b|c", -6.0}, {"ab|c", -4.5}, {"a|bc", -4.0}, {"abc", -4.0}};
  for (const double strength : {0.0, 0.5, 1.0}) {
    double total = 0.0;
    for (const auto& [text, score] : scores) total += std::exp(strength * score);
    std::map<std::string, int> counts;
    constexpr int kDraws = 20000;
    for (uint64_t i = 0; i < kDraws; ++i)
      ++counts[joined(sample_unigram(model, units, strength, {1, i}), units)];
    EXPECT_EQ(counts.size(), scores.size());
    for (const auto& [text, score] : scores) {
      const double wanted = std::exp(strength * score) / total;
      // Five standard deviations of a binomial share.
      EXPECT_NEAR(counts[text] / double{kDraws}, wanted, 5.0 * std::sqrt(wanted * (1 - wanted) / kDraws))
          << text;
    }
  }
}

TEST(SampleUnigram, UnknownUnitsStandAlone) {
  const PieceModel model = model_of({{"a", -1.0f}, {"ab", -1.0f}});
  const Units units = units_of("xaby");
  const auto segments = sample_unigram(model, units, 1.0, {1, 1});
  EXPECT_EQ(segments.front().id, -1);
  EXPECT_EQ(segments.back().id, -1);
  EXPECT_EQ(segments.back().end, 4u);
  EXPECT_TRUE(sample_unigram(model, units_of(""), 1.0, {1, 1}).empty());
  EXPECT_TRUE(sample_bpe(model, units_of(""), 0.1, {1, 1}).empty());
}

TEST(SampleBpe, BestMergeFirstAndDropoutLeavesCharacters) {
  const PieceModel model =
      model_of({{"a", -9.0f}, {"b", -9.0f}, {"c", -9.0f}, {"bc", -1.0f}, {"ab", -2.0f}, {"abc", -3.0f}});
  const Units units = units_of("abcab");
  EXPECT_EQ(joined(sample_bpe(model, units, 0.0, {1, 1}), units), "abc|ab");
  EXPECT_EQ(joined(sample_bpe(model, units, 1.0, {1, 1}), units), "a|b|c|a|b");
}

// A word is one stretch: its probability does not depend on what stands beside it, and memory stays small.
TEST(SampleUnigram, LongTextsAreCutWhereNoPieceCrosses) {
  const PieceModel model = model_of({{"_", -1.0f}, {"_a", -1.5f}, {"a", -1.0f}});
  std::string text;
  for (int i = 0; i < 200000; ++i) text += "_a";
  const Units units = units_of(text);
  size_t end = 0;
  for (const Segment& segment : sample_unigram(model, units, 1.0, {1, 1})) {
    EXPECT_EQ(segment.begin, end);
    end = segment.end;
  }
  EXPECT_EQ(end, units.size());
}

TEST(SentencePieceSampler, AsciiRulesAgreeWithTheLibrary) {
  std::string all;
  for (char c = ' '; c < 0x7F; ++c) all += std::string(1, c) + " ";
  const std::string_view views[] = {all, "the quick brown fox", "The Quick Brown Fox Jumps"};
  for (const bool lowercase : {false, true}) {
    TokenizerOptions options{.kind = TokenizerKind::kUnigram, .vocab_size = 150};
    options.lowercase = lowercase;
    options.coverage = 1.0;
    const std::string bytes = train_sentencepiece_model(views, options);
    sentencepiece::SentencePieceProcessor processor;
    ASSERT_TRUE(processor.LoadFromSerializedProto(bytes).ok());
    const SentencePieceSampler sampler(processor, bytes, read_sentencepiece_facts(bytes, "model"), "model");
    ASSERT_TRUE(sampler.has_ascii_rules());
    Random random(5);
    for (int round = 0; round < 500; ++round) {
      std::string text;
      for (uint64_t n = random.below(30); n > 0; --n) {
        const uint64_t kind = random.below(8);
        text += kind == 0  ? "\t\n\r "[random.below(4)]
                : kind < 3 ? ' '
                           : static_cast<char>(' ' + random.below(95));
      }
      std::vector<Span> places;
      std::vector<Span> ascii_places;
      const Units units = sampler.normalize(text, places);
      const Units ascii = sampler.normalize_ascii(text, ascii_places);
      ASSERT_EQ(units.text, ascii.text) << '"' << text << '"';
      ASSERT_EQ(units.offsets, ascii.offsets) << '"' << text << '"';
      ASSERT_EQ(places, ascii_places) << '"' << text << '"';
    }
  }
}

}  // namespace
}  // namespace fovea::formats
