// SentencePiece models (Kudo & Richardson 2018): the library trains them, normalises text and finds the best
// segmentation.
#include <sentencepiece_processor.h>

#include <mutex>

#include "formats/base64.hpp"
#include "formats/sentencepiece_model.hpp"
#include "formats/sentencepiece_sampler.hpp"
#include "formats/sentencepiece_trainer.hpp"
#include "formats/tokenizer_kinds.hpp"
#include "formats/vocabulary.hpp"
#include "fovea/formats/utf8.hpp"

namespace fovea::formats {

namespace {

using sentencepiece::SentencePieceProcessor;

std::unique_ptr<SentencePieceProcessor> load_processor(std::string_view bytes, std::string_view where) {
  auto processor = std::make_unique<SentencePieceProcessor>();
  const auto status = processor->LoadFromSerializedProto({bytes.data(), bytes.size()});
  check_data(status.ok(), where, "expected a SentencePiece model, found a damaged one; copy the file again");
  check_data(processor->GetPieceSize() > 0, where, "expected pieces in the SentencePiece model, found none");
  return processor;
}

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(std::string bytes, std::string_view where)
      : bytes_(std::move(bytes)),
        where_(where),
        facts_(read_sentencepiece_facts(bytes_, where)),
        processor_(load_processor(bytes_, where)) {
    for (const char* name : {"<cls>", "[CLS]"}) {
      const int id = processor_->PieceToId(name);
      if (cls_ < 0 && processor_->IsControl(id)) cls_ = id;
    }
  }

  TokenizerKind kind() const override {
    return facts_.type == SentencePieceType::kBpe ? TokenizerKind::kBpe : TokenizerKind::kUnigram;
  }
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
    check_data(status.ok(), where_,
               "expected a SentencePiece model that cuts every text, found one that fails");
    return ids;
  }

  Encoding encode(std::string_view text, const Sampling& sampling) const override {
    check_argument(sampling.strength >= 0.0, "tokenizer", "expected a strength of at least 0, got {}",
                   sampling.strength);
    std::call_once(sampler_made_, [&] {
      sampler_ = std::make_unique<SentencePieceSampler>(*processor_, bytes_, facts_, where_);
    });
    return sampler_->sample(text, sampling);
  }

  std::string decode(std::span<const int32_t> ids) const override {
    std::vector<int> kept;
    kept.reserve(ids.size());
    std::string text;
    const auto flush = [&] {
      if (kept.empty()) return;
      std::string part;
      const auto status = processor_->Decode(kept, &part);
      check_data(status.ok(), where_,
                 "expected a SentencePiece model that joins its pieces, found one that fails");
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

  bool is_text(int32_t id) const override {
    check_id(id, vocab_size());
    return !processor_->IsUnknown(id) && !processor_->IsControl(id) && !processor_->IsUnused(id);
  }
  int32_t byte_of(int32_t id) const override {
    check_id(id, vocab_size());
    return processor_->IsByte(id) ? byte_piece(processor_->IdToPiece(id)) : -1;
  }

  int32_t unk_id() const override { return processor_->unk_id(); }
  int32_t bos_id() const override { return processor_->bos_id(); }
  int32_t eos_id() const override { return processor_->eos_id(); }
  int32_t cls_id() const override { return cls_; }

  std::string to_json() const override {
    return frame_tokenizer(kind(), Json{{"sentencepiece", base64_encode(bytes_)}});
  }

 private:
  std::string bytes_;
  std::string where_;
  SentencePieceFacts facts_;
  std::unique_ptr<SentencePieceProcessor> processor_;
  // Made at the first random encoding: prediction never needs it, and it doubles the time to load.
  mutable std::once_flag sampler_made_;
  mutable std::unique_ptr<SentencePieceSampler> sampler_;
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
