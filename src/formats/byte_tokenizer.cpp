#include <array>

#include "formats/tokenizer_kinds.hpp"
#include "formats/vocabulary.hpp"

namespace fovea::formats {

namespace {

// Ids 0 to 255 are the bytes themselves; with special tokens <s> is 256, </s> 257, <cls> 258.
class ByteTokenizer final : public Tokenizer {
 public:
  explicit ByteTokenizer(bool special_tokens) : special_tokens_(special_tokens) {}

  TokenizerKind kind() const override { return TokenizerKind::kBytes; }
  int64_t vocab_size() const override { return special_tokens_ ? 259 : 256; }

  Encoding encode(std::string_view text) const override {
    Encoding encoding{encode_ids(text), {}};
    encoding.spans.resize(text.size());
    for (size_t i = 0; i < text.size(); ++i) {
      encoding.spans[i] = {static_cast<int64_t>(i), static_cast<int64_t>(i) + 1};
    }
    return encoding;
  }

  std::vector<int32_t> encode_ids(std::string_view text) const override {
    std::vector<int32_t> ids(text.size());
    for (size_t i = 0; i < text.size(); ++i) ids[i] = static_cast<unsigned char>(text[i]);
    return ids;
  }

  std::string decode(std::span<const int32_t> ids) const override {
    std::string text;
    text.reserve(ids.size());
    for (const int32_t id : ids) {
      check_id(id, vocab_size());
      if (id < 256) text.push_back(static_cast<char>(id));
    }
    return text;
  }

  std::string piece(int32_t id) const override {
    constexpr std::array<const char*, 3> kSpecials{"<s>", "</s>", "<cls>"};
    check_id(id, vocab_size());
    if (id >= 256) return kSpecials[static_cast<size_t>(id - 256)];
    if (id > 0x20 && id < 0x7F) return std::string(1, static_cast<char>(id));
    return fmt::format("<0x{:02X}>", id);
  }

  bool is_text(int32_t id) const override { return byte_of(id) >= 0; }
  int32_t byte_of(int32_t id) const override {
    check_id(id, vocab_size());
    return id < 256 ? id : -1;
  }

  int32_t unk_id() const override { return -1; }
  int32_t bos_id() const override { return special_tokens_ ? 256 : -1; }
  int32_t eos_id() const override { return special_tokens_ ? 257 : -1; }
  int32_t cls_id() const override { return special_tokens_ ? 258 : -1; }

  std::string to_json() const override {
    return frame_tokenizer(TokenizerKind::kBytes, Json{{"special_tokens", special_tokens_}});
  }

 private:
  bool special_tokens_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_byte_tokenizer(bool special_tokens) {
  return std::make_unique<ByteTokenizer>(special_tokens);
}

std::unique_ptr<Tokenizer> parse_byte_tokenizer(const Json& model, std::string_view where) {
  return make_byte_tokenizer(json_member<bool>(model, "special_tokens", where));
}

}  // namespace fovea::formats
