#include "fovea/formats/tokenizer.hpp"

#include <array>

#include "formats/tokenizer_kinds.hpp"
#include "fovea/formats/file.hpp"

namespace fovea::formats {

namespace {

constexpr const char* kFormat = "fovea-tokenizer";
constexpr int64_t kVersion = 1;
constexpr int64_t kMaxTokenizerBytes = int64_t{1} << 28;
constexpr std::array<const char*, 5> kNames{"bytes", "characters", "words", "unigram", "bpe"};

// The checksum covers the model as this library writes it, so white space may change and values may not.
std::string checksum_of(const Json& model) {
  return fmt::format("{:08x}", crc32c(model.dump()));
}

}  // namespace

const char* to_string(TokenizerKind kind) {
  return kNames[static_cast<size_t>(kind)];
}

TokenizerKind tokenizer_kind(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (name == kNames[i]) return static_cast<TokenizerKind>(i);
  }
  throw_argument("tokenizer", "expected one of {}, got \"{}\"", fmt::join(kNames, ", "), name);
}

Encoding Tokenizer::encode(std::string_view text, const Sampling&) const {
  return encode(text);
}

std::vector<int32_t> Tokenizer::encode_ids(std::string_view text) const {
  return encode(text).ids;
}

void Tokenizer::save(const std::filesystem::path& folder) const {
  write_atomically(folder / "tokenizer.json", to_json());
}

std::string frame_tokenizer(TokenizerKind kind, Json model) {
  Json frame{
      {"format", kFormat}, {"version", kVersion}, {"kind", to_string(kind)}, {"crc32c", checksum_of(model)}};
  frame["model"] = std::move(model);
  return frame.dump() + "\n";
}

std::unique_ptr<Tokenizer> Tokenizer::load(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::path file =
      std::filesystem::is_directory(path, error) ? path / "tokenizer.json" : path;
  std::string bytes = read_file(file, kMaxTokenizerBytes);
  if (file.extension() == ".model") return load_sentencepiece_model(std::move(bytes), file.string());
  return parse(bytes, file.string());
}

std::unique_ptr<Tokenizer> Tokenizer::parse(std::string_view text, std::string_view where) {
  const Json json = parse_json(text, where);
  check_data(json.is_object() && json.value("format", Json()) == kFormat, where,
             "expected a tokenizer.json that Fovea wrote, found other JSON; see docs/formats/tokenizer.md");
  const auto version = json_member<int64_t>(json, "version", where);
  check_data(version == kVersion, where, "expected version {}, found {}; read it with a later Fovea",
             kVersion, version);
  const auto model = json.find("model");
  check_data(model != json.end() && model->is_object(), where,
             "expected an object under \"model\", found none");
  const auto wanted = json_member<std::string>(json, "crc32c", where);
  const std::string actual = checksum_of(*model);
  check_data(wanted == actual, where, "expected checksum {}, found {}; the file is damaged: copy it again",
             wanted, actual);

  const auto kind = json_member<std::string>(json, "kind", where);
  if (kind == "bytes") return parse_byte_tokenizer(*model, where);
  if (kind == "characters") return parse_character_tokenizer(*model, where);
  if (kind == "words") return parse_word_tokenizer(*model, where);
  if (kind == "unigram" || kind == "bpe") return parse_sentencepiece_tokenizer(*model, where);
  throw_data(where, "expected a kind among {}, found \"{}\"", fmt::join(kNames, ", "), kind);
}

std::unique_ptr<Tokenizer> train_tokenizer(std::span<const std::string_view> texts,
                                           const TokenizerOptions& options) {
  constexpr const char* kCall = "train_tokenizer";
  check_argument(options.vocab_size >= 0 && options.vocab_size <= 10'000'000, kCall,
                 "expected vocab_size from 0 to 10000000, got {}", options.vocab_size);
  check_argument(options.min_count >= 1, kCall, "expected min_count of at least 1, got {}",
                 options.min_count);
  check_argument(options.coverage >= 0.98 && options.coverage <= 1.0, kCall,
                 "expected coverage from 0.98 to 1, got {}", options.coverage);
  switch (options.kind) {
    case TokenizerKind::kBytes:
      return make_byte_tokenizer(options.special_tokens);
    case TokenizerKind::kCharacters:
      return train_character_tokenizer(texts, options);
    case TokenizerKind::kWords:
      return train_word_tokenizer(texts, options);
    case TokenizerKind::kUnigram:
    case TokenizerKind::kBpe:
      return train_sentencepiece_tokenizer(texts, options);
  }
  throw_argument(kCall, "expected a kind, got number {}", static_cast<int>(options.kind));
}

}  // namespace fovea::formats
