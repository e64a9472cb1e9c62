#include "formats/sentencepiece_sampler.hpp"

#include <algorithm>
#include <cstdio>

#include "base/check.hpp"

namespace fovea::formats {

namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // ▁

bool is_plain(char c) {
  return (c >= ' ' && c < 0x7F) || c == '\t' || c == '\n' || c == '\r';
}

}  // namespace

int32_t byte_piece(std::string_view piece) {
  unsigned value = 0;
  const bool read = std::sscanf(std::string(piece).c_str(), "<0x%02X>", &value) == 1 && value < 256;
  return read ? static_cast<int32_t>(value) : -1;
}

SentencePieceSampler::SentencePieceSampler(const sentencepiece::SentencePieceProcessor& processor,
                                           std::string_view bytes, const SentencePieceFacts& facts,
                                           std::string_view where)
    : characters_(std::make_unique<sentencepiece::SentencePieceProcessor>()),
      type_(facts.type),
      fold_case_(facts.normalizer == "nmt_nfkc_cf"),
      unk_(processor.unk_id()) {
  // As a model of characters it normalises alike, and tells of each normalised character where it came from.
  const std::string changed = as_character_model(bytes);
  const auto status = characters_->LoadFromSerializedProto(changed);
  check_data(status.ok(), where, "expected a SentencePiece model, found a damaged one; copy the file again");
  ascii_rules_ = (fold_case_ || facts.normalizer == "nmt_nfkc") && facts.add_dummy_prefix &&
                 facts.remove_extra_spaces && facts.escape_spaces && !facts.user_defined;

  const int size = processor.GetPieceSize();
  pieces_.scores.resize(static_cast<size_t>(size));
  byte_ids_.fill(-1);
  float least = 0.0f;
  for (int id = 0; id < size; ++id) {
    if (processor.IsByte(id)) {
      const int32_t value = byte_piece(processor.IdToPiece(id));
      if (value >= 0) byte_ids_[static_cast<size_t>(value)] = id;
      continue;
    }
    if (processor.IsControl(id) || processor.IsUnknown(id) || processor.IsUnused(id)) continue;
    const float score = processor.GetScore(id);
    pieces_.scores[static_cast<size_t>(id)] = score;
    pieces_.trie.add(processor.IdToPiece(id), id);
    least = std::min(least, score);
  }
  byte_fallback_ = std::all_of(byte_ids_.begin(), byte_ids_.end(), [](int32_t id) { return id >= 0; });
  pieces_.unknown_score = least - 10.0f;  // the library's penalty for an unknown character
}

Encoding SentencePieceSampler::sample(std::string_view text, const Sampling& sampling) const {
  std::vector<Span> places;
  const bool ascii = ascii_rules_ && std::all_of(text.begin(), text.end(), is_plain);
  const Units units = ascii ? normalize_ascii(text, places) : normalize(text, places);
  const auto segments = type_ == SentencePieceType::kBpe
                            ? sample_bpe(pieces_, units, sampling.strength, sampling.key)
                            : sample_unigram(pieces_, units, sampling.strength, sampling.key);
  Encoding encoding;
  encoding.ids.reserve(segments.size());
  encoding.spans.reserve(segments.size());
  for (const Segment& segment : segments) {
    const Span span{places[segment.begin].begin, places[segment.end - 1].end};
    if (segment.id >= 0) {
      encoding.ids.push_back(segment.id);
      encoding.spans.push_back(span);
    } else {
      push_unknown(encoding, units, segment, span);
    }
  }
  return encoding;
}

Units SentencePieceSampler::normalize(std::string_view text, std::vector<Span>& places) const {
  Units units;
  const auto found = characters_->EncodeAsImmutableProto({text.data(), text.size()});
  for (const auto& piece : found.pieces()) {
    units.text += piece.piece();
    units.offsets.push_back(static_cast<int32_t>(units.text.size()));
    places.push_back({piece.begin(), piece.end()});
  }
  return units;
}

// Ten times as fast as the general way: each run of white space is one "▁", one more stands before the first
// word, nothing after the last one; letters are folded where the model folds them.
Units SentencePieceSampler::normalize_ascii(std::string_view text, std::vector<Span>& places) const {
  Units units;
  units.text.reserve(text.size() + 2 * kSpace.size());
  units.offsets.reserve(text.size() + 2);
  places.reserve(text.size() + 1);
  const auto push = [&](std::string_view unit, size_t begin, size_t end) {
    units.text += unit;
    units.offsets.push_back(static_cast<int32_t>(units.text.size()));
    places.push_back({static_cast<int64_t>(begin), static_cast<int64_t>(end)});
  };
  for (size_t i = 0; i < text.size();) {
    const size_t space = i;
    while (i < text.size() && (text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r')) ++i;
    if (i == text.size()) break;
    // White space before the first word is dropped; the "▁" there stands for no byte.
    const bool first = places.empty();
    push(kSpace, first ? i : space, i);
    for (; i < text.size() && text[i] != ' ' && text[i] != '\t' && text[i] != '\n' && text[i] != '\r'; ++i) {
      const char c =
          fold_case_ && text[i] >= 'A' && text[i] <= 'Z' ? static_cast<char>(text[i] + 32) : text[i];
      push({&c, 1}, i, i + 1);
    }
  }
  return units;
}

// One <unk> for a run of them, as the library does; or its bytes where the model has a piece for each.
void SentencePieceSampler::push_unknown(Encoding& encoding, const Units& units, const Segment& segment,
                                        Span span) const {
  const auto begin = static_cast<size_t>(units.offsets[segment.begin]);
  const auto end = static_cast<size_t>(units.offsets[segment.end]);
  if (byte_fallback_) {
    for (size_t b = begin; b < end; ++b) {
      encoding.ids.push_back(byte_ids_[static_cast<unsigned char>(units.text[b])]);
      encoding.spans.push_back(b + 1 == end ? span : Span{span.begin, span.begin});
    }
  } else if (!encoding.ids.empty() && encoding.ids.back() == unk_) {
    encoding.spans.back().end = span.end;
  } else {
    encoding.ids.push_back(unk_);
    encoding.spans.push_back(span);
  }
}

}  // namespace fovea::formats
