#include <unordered_map>

#include "formats/tokenizer_kinds.hpp"
#include "formats/vocabulary.hpp"
#include "fovea/formats/utf8.hpp"

namespace fovea::formats {

namespace {

// One token a Unicode code point, most frequent first.
class CharacterTokenizer final : public Tokenizer {
 public:
  CharacterTokenizer(Vocabulary vocabulary, std::string_view where) : vocabulary_(std::move(vocabulary)) {
    for (int32_t id = 0; id < vocabulary_.size(); ++id) {
      if (vocabulary_.is_special(id)) continue;
      const std::string& piece = vocabulary_.piece(id);
      const CodePoint point = decode_utf8(piece, 0);
      check_data(point.valid && std::cmp_equal(point.length, piece.size()), where,
                 "expected pieces of one character, found \"{}\"", replace_invalid_utf8(piece));
      ids_.emplace(point.value, id);
    }
  }

  TokenizerKind kind() const override { return TokenizerKind::kCharacters; }
  int64_t vocab_size() const override { return vocabulary_.size(); }

  Encoding encode(std::string_view text) const override {
    Encoding encoding;
    walk(text, [&](int32_t id, Span span) {
      encoding.ids.push_back(id);
      encoding.spans.push_back(span);
    });
    return encoding;
  }

  std::vector<int32_t> encode_ids(std::string_view text) const override {
    std::vector<int32_t> ids;
    ids.reserve(text.size());
    walk(text, [&](int32_t id, Span) { ids.push_back(id); });
    return ids;
  }

  std::string decode(std::span<const int32_t> ids) const override {
    std::string text;
    text.reserve(ids.size());
    for (const int32_t id : ids) {
      check_id(id, vocab_size());
      if (id == unk_id()) append_utf8(text, kReplacementCharacter);
      if (!vocabulary_.is_special(id)) text += vocabulary_.piece(id);
    }
    return text;
  }

  std::string piece(int32_t id) const override {
    check_id(id, vocab_size());
    const std::string& piece = vocabulary_.piece(id);
    const auto first = static_cast<unsigned char>(piece[0]);
    return piece.size() == 1 && (first <= 0x20 || first == 0x7F) ? fmt::format("<0x{:02X}>", first) : piece;
  }

  bool is_text(int32_t id) const override {
    check_id(id, vocab_size());
    return !vocabulary_.is_special(id);
  }

  int32_t unk_id() const override { return vocabulary_.specials().unk; }
  int32_t bos_id() const override { return vocabulary_.specials().bos; }
  int32_t eos_id() const override { return vocabulary_.specials().eos; }
  int32_t cls_id() const override { return vocabulary_.specials().cls; }
  std::string to_json() const override { return frame_tokenizer(kind(), vocabulary_.to_json()); }

 private:
  template <class Emit>
  void walk(std::string_view text, Emit emit) const {
    const auto size = static_cast<int64_t>(text.size());
    for (int64_t i = 0; i < size;) {
      const CodePoint point = decode_utf8(text, i);
      const auto found = ids_.find(point.value);
      emit(found == ids_.end() ? unk_id() : found->second, Span{i, i + point.length});
      i += point.length;
    }
  }

  Vocabulary vocabulary_;
  std::unordered_map<char32_t, int32_t> ids_;
};

}  // namespace

std::unique_ptr<Tokenizer> train_character_tokenizer(Texts texts, const TokenizerOptions& options) {
  std::unordered_map<char32_t, int64_t> counts;
  for (const std::string_view text : texts) {
    const auto size = static_cast<int64_t>(text.size());
    for (int64_t i = 0; i < size;) {
      const CodePoint point = decode_utf8(text, i);
      ++counts[point.value];
      i += point.length;
    }
  }
  check_data(!counts.empty(), "tokenizer", "expected text to make a vocabulary from, found none");
  std::unordered_map<std::string, int64_t> pieces;
  for (const auto& [value, count] : counts) {
    std::string piece;
    append_utf8(piece, value);
    pieces.emplace(std::move(piece), count);
  }
  const int64_t specials = options.special_tokens ? 4 : 1;
  check_argument(options.vocab_size == 0 || options.vocab_size > specials, "train_tokenizer",
                 "expected vocab_size 0 (no bound) or more than {}, got {}", specials, options.vocab_size);
  const int64_t limit = options.vocab_size == 0 ? 0 : options.vocab_size - specials;
  return std::make_unique<CharacterTokenizer>(
      Vocabulary::with_specials(by_frequency(pieces, options.min_count, limit), options.special_tokens),
      "tokenizer");
}

std::unique_ptr<Tokenizer> parse_character_tokenizer(const Json& model, std::string_view where) {
  return std::make_unique<CharacterTokenizer>(Vocabulary::from_json(model, where), where);
}

}  // namespace fovea::formats
