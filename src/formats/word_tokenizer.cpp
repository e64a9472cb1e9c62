#include <unordered_map>

#include "formats/tokenizer_kinds.hpp"
#include "formats/vocabulary.hpp"
#include "fovea/formats/utf8.hpp"
#include "fovea/formats/words.hpp"

namespace fovea::formats {

namespace {

// The form under which a word is counted and looked up.
std::string normal_form(std::string_view word, bool lowercase) {
  return lowercase ? lower_case(word) : replace_invalid_utf8(word);
}

class WordTokenizer final : public Tokenizer {
 public:
  WordTokenizer(Vocabulary vocabulary, bool lowercase)
      : vocabulary_(std::move(vocabulary)), lowercase_(lowercase) {}

  TokenizerKind kind() const override { return TokenizerKind::kWords; }
  int64_t vocab_size() const override { return vocabulary_.size(); }

  Encoding encode(std::string_view text) const override {
    Encoding encoding;
    for_each_word(text, [&](Span span) {
      const auto word =
          text.substr(static_cast<size_t>(span.begin), static_cast<size_t>(span.end - span.begin));
      encoding.ids.push_back(vocabulary_.find(normal_form(word, lowercase_)));
      encoding.spans.push_back(span);
    });
    return encoding;
  }

  std::string decode(std::span<const int32_t> ids) const override {
    std::string text;
    for (const int32_t id : ids) {
      check_id(id, vocab_size());
      const bool unknown = id == unk_id();
      if (vocabulary_.is_special(id) && !unknown) continue;
      if (!text.empty()) text += ' ';
      if (unknown) {
        append_utf8(text, kReplacementCharacter);
      } else {
        text += vocabulary_.piece(id);
      }
    }
    return text;
  }

  std::string piece(int32_t id) const override {
    check_id(id, vocab_size());
    return vocabulary_.piece(id);
  }

  bool is_text(int32_t id) const override {
    check_id(id, vocab_size());
    return !vocabulary_.is_special(id);
  }

  int32_t unk_id() const override { return vocabulary_.specials().unk; }
  int32_t bos_id() const override { return vocabulary_.specials().bos; }
  int32_t eos_id() const override { return vocabulary_.specials().eos; }
  int32_t cls_id() const override { return vocabulary_.specials().cls; }

  std::string to_json() const override {
    Json model{{"lowercase", lowercase_}};
    model.update(vocabulary_.to_json());
    return frame_tokenizer(kind(), std::move(model));
  }

 private:
  Vocabulary vocabulary_;
  bool lowercase_;
};

}  // namespace

std::unique_ptr<Tokenizer> train_word_tokenizer(Texts texts, const TokenizerOptions& options) {
  std::unordered_map<std::string, int64_t> counts;
  for (const std::string_view text : texts) {
    for_each_word(text, [&](Span span) {
      const auto word =
          text.substr(static_cast<size_t>(span.begin), static_cast<size_t>(span.end - span.begin));
      ++counts[normal_form(word, options.lowercase)];
    });
  }
  check_data(!counts.empty(), "tokenizer", "expected words to make a vocabulary from, found none");
  const int64_t specials = options.special_tokens ? 4 : 1;
  check_argument(options.vocab_size == 0 || options.vocab_size > specials, "train_tokenizer",
                 "expected vocab_size 0 (no bound) or more than {}, got {}", specials, options.vocab_size);
  const int64_t limit = options.vocab_size == 0 ? 0 : options.vocab_size - specials;
  return std::make_unique<WordTokenizer>(
      Vocabulary::with_specials(by_frequency(counts, options.min_count, limit), options.special_tokens),
      options.lowercase);
}

std::unique_ptr<Tokenizer> parse_word_tokenizer(const Json& model, std::string_view where) {
  return std::make_unique<WordTokenizer>(Vocabulary::from_json(model, where),
                                         json_member<bool>(model, "lowercase", where));
}

}  // namespace fovea::formats
