// SentencePiece models (Kudo & Richardson 2018). The library trains them, normalises text and finds the best
// segmentation; random segmentations are drawn here, because the library's own generator is global and
// unseedable.
#include <sentencepiece_processor.h>

#include <array>

#include "formats/base64.hpp"
#include "formats/segmentation.hpp"
#include "formats/sentencepiece_trainer.hpp"
#include "formats/tokenizer_kinds.hpp"
#include "formats/vocabulary.hpp"
#include "fovea/formats/utf8.hpp"

namespace fovea::formats {

namespace {

using sentencepiece::SentencePieceProcessor;

constexpr int kTypeUnigram = 1;  // TrainerSpec.ModelType of sentencepiece_model.proto
constexpr int kTypeBpe = 2;

// Reads one varint; -1 where there is none.
int64_t read_varint(std::string_view bytes, size_t& at) {
  uint64_t value = 0;
  for (int shift = 0; shift < 63 && at < bytes.size(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes[at++]);
    value |= static_cast<uint64_t>(byte & 0x7Fu) << shift;
    if (byte < 0x80) return static_cast<int64_t>(value);
  }
  return -1;
}

// Calls visit(field, varint value, bytes) for each field of a protobuf message; false when it is malformed.
template <class Visit>
bool visit_message(std::string_view message, Visit visit) {
  size_t at = 0;
  while (at < message.size()) {
    const int64_t tag = read_varint(message, at);
    if (tag < 0) return false;
    int64_t value = 0;
    std::string_view body;
    switch (tag & 7) {
      case 0:
        value = read_varint(message, at);
        if (value < 0) {  // a negative number takes ten bytes: nothing here is one that we need
          while (at < message.size() && (static_cast<unsigned char>(message[at]) & 0x80u) != 0) ++at;
          ++at;
        }
        break;
      case 1:
        at += 8;
        break;
      case 5:
        at += 4;
        break;
      case 2:
        value = read_varint(message, at);
        if (value < 0 || static_cast<uint64_t>(value) > message.size() - at) return false;
        body = message.substr(at, static_cast<size_t>(value));
        at += static_cast<size_t>(value);
        break;
      default:
        return false;
    }
    if (at > message.size()) return false;
    visit(tag >> 3, value, body);
  }
  return true;
}

// TrainerSpec.model_type: field 3 of field 2. Unigram when absent, as the format says.
int model_type(std::string_view model, std::string_view where) {
  int type = kTypeUnigram;
  const bool ok = visit_message(model, [&](int64_t field, int64_t, std::string_view body) {
    if (field != 2) return;
    visit_message(body, [&](int64_t inner, int64_t value, std::string_view) {
      if (inner == 3) type = static_cast<int>(value);
    });
  });
  check_data(ok, where, "expected a SentencePiece model, found other bytes or a damaged one");
  check_data(
      type == kTypeUnigram || type == kTypeBpe, where,
      "expected a unigram (1) or BPE (2) model, found type {}; train it with --model_type=unigram or bpe",
      type);
  return type;
}

std::unique_ptr<SentencePieceProcessor> load_processor(std::string_view bytes, std::string_view where) {
  auto processor = std::make_unique<SentencePieceProcessor>();
  const auto status = processor->LoadFromSerializedProto({bytes.data(), bytes.size()});
  check_data(status.ok(), where, "expected a SentencePiece model, found a damaged one: {}",
             status.ToString());
  check_data(processor->GetPieceSize() > 0, where, "expected pieces in the SentencePiece model, found none");
  return processor;
}

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(std::string bytes, std::string_view where)
      : bytes_(std::move(bytes)),
        kind_(model_type(bytes_, where) == kTypeBpe ? TokenizerKind::kBpe : TokenizerKind::kUnigram),
        processor_(load_processor(bytes_, where)) {
    // The same model, its type changed to "characters" and byte fallback off: it normalises alike, and tells
    // for each normalised character where it came from. Fields that come later win, so they are appended.
    constexpr std::array<char, 7> kAsCharacters{0x12, 5, 0x18, 4, '\x98', 2, 0};
    normalizer_ = load_processor(bytes_ + std::string(kAsCharacters.data(), kAsCharacters.size()), where);
    const int size = processor_->GetPieceSize();
    pieces_.scores.resize(static_cast<size_t>(size));
    float least = 0.0f;
    for (int id = 0; id < size; ++id) {
      if (processor_->IsByte(id)) {
        unsigned value = 0;
        const std::string& text = processor_->IdToPiece(id);
        if (std::sscanf(text.c_str(), "<0x%02X>", &value) == 1 && value < 256) byte_ids_[value] = id;
        continue;
      }
      if (processor_->IsControl(id) || processor_->IsUnknown(id) || processor_->IsUnused(id)) continue;
      const float score = processor_->GetScore(id);
      pieces_.scores[static_cast<size_t>(id)] = score;
      pieces_.trie.add(processor_->IdToPiece(id), id);
      least = std::min(least, score);
    }
    pieces_.trie.build();
    pieces_.unknown_score = least - 10.0f;  // the library's penalty for an unknown character
    for (const char* name : {"<cls>", "[CLS]"}) {
      const int id = processor_->PieceToId(name);
      if (cls_ < 0 && processor_->IsControl(id)) cls_ = id;
    }
  }

  TokenizerKind kind() const override { return kind_; }
  int64_t vocab_size() const override { return processor_->GetPieceSize(); }

  Encoding encode(std::string_view text) const override {
    const auto found = processor_->EncodeAsImmutableProto({text.data(), text.size()});
    Encoding encoding;
    encoding.ids.reserve(found.pieces_size());
    encoding.spans.reserve(found.pieces_size());
    for (const auto& piece : found.pieces()) {
      encoding.ids.push_back(static_cast<int32_t>(piece.id()));
      encoding.spans.push_back({piece.begin(), piece.end()});
    }
    return encoding;
  }

  std::vector<int32_t> encode_ids(std::string_view text) const override {
    std::vector<int> ids;
    const auto status = processor_->Encode({text.data(), text.size()}, &ids);
    check_data(status.ok(), "tokenizer", "could not encode a text: {}", status.ToString());
    return ids;
  }

  Encoding encode(std::string_view text, const Sampling& sampling) const override {
    check_argument(sampling.strength >= 0.0, "tokenizer", "expected a strength of at least 0, got {}",
                   sampling.strength);
    std::vector<Span> places;
    const Units units = normalize(text, places);
    const auto segments = kind_ == TokenizerKind::kBpe
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

  std::string decode(std::span<const int32_t> ids) const override {
    std::vector<int> kept;
    kept.reserve(ids.size());
    std::string text;
    const auto flush = [&] {
      if (kept.empty()) return;
      std::string part;
      const auto status = processor_->Decode(kept, &part);
      check_data(status.ok(), "tokenizer", "could not decode: {}", status.ToString());
      text += part;
      kept.clear();
    };
    for (const int32_t id : ids) {
      check_id(id, vocab_size());
      if (processor_->IsUnknown(id)) {
        flush();
        append_utf8(text, kReplacementCharacter);
      } else if (!processor_->IsControl(id)) {
        kept.push_back(id);
      }
    }
    flush();
    return text;
  }

  std::string piece(int32_t id) const override {
    check_id(id, vocab_size());
    return replace_invalid_utf8(processor_->IdToPiece(id));
  }

  int32_t unk_id() const override { return processor_->unk_id(); }
  int32_t bos_id() const override { return processor_->bos_id(); }
  int32_t eos_id() const override { return processor_->eos_id(); }
  int32_t cls_id() const override { return cls_; }

  std::string to_json() const override {
    return frame_tokenizer(kind_, Json{{"sentencepiece", base64_encode(bytes_)}});
  }

 private:
  Units normalize(std::string_view text, std::vector<Span>& places) const {
    Units units;
    const auto found = normalizer_->EncodeAsImmutableProto({text.data(), text.size()});
    for (const auto& piece : found.pieces()) {
      units.text += piece.piece();
      units.offsets.push_back(static_cast<int32_t>(units.text.size()));
      units.known.push_back(processor_->IsUnknown(static_cast<int>(piece.id())) ? 0 : 1);
      places.push_back({piece.begin(), piece.end()});
    }
    return units;
  }

  // One <unk> for a run of them, as the library does; or its bytes where the model has a piece for each.
  void push_unknown(Encoding& encoding, const Units& units, const Segment& segment, Span span) const {
    const auto begin = static_cast<size_t>(units.offsets[segment.begin]);
    const auto end = static_cast<size_t>(units.offsets[segment.end]);
    if (byte_ids_[0] >= 0) {
      for (size_t b = begin; b < end; ++b) {
        encoding.ids.push_back(byte_ids_[static_cast<unsigned char>(units.text[b])]);
        encoding.spans.push_back(b + 1 == end ? span : Span{span.begin, span.begin});
      }
      return;
    }
    if (!encoding.ids.empty() && encoding.ids.back() == unk_id()) {
      encoding.spans.back().end = span.end;
      return;
    }
    encoding.ids.push_back(unk_id());
    encoding.spans.push_back(span);
  }

  std::string bytes_;
  TokenizerKind kind_;
  std::unique_ptr<SentencePieceProcessor> processor_;
  std::unique_ptr<SentencePieceProcessor> normalizer_;
  PieceModel pieces_;
  std::array<int32_t, 256> byte_ids_ = [] {
    std::array<int32_t, 256> none{};
    none.fill(-1);
    return none;
  }();
  int32_t cls_ = -1;
};

}  // namespace

std::unique_ptr<Tokenizer> train_sentencepiece_tokenizer(Texts texts, const TokenizerOptions& options) {
  return load_sentencepiece_model(train_sentencepiece_model(texts, options), "tokenizer");
}

std::unique_ptr<Tokenizer> parse_sentencepiece_tokenizer(const Json& model, std::string_view where) {
  return load_sentencepiece_model(
      base64_decode(json_member<std::string>(model, "sentencepiece", where), where), where);
}

std::unique_ptr<Tokenizer> load_sentencepiece_model(std::string bytes, std::string_view where) {
  return std::make_unique<SentencePieceTokenizer>(std::move(bytes), where);
}

}  // namespace fovea::formats
