// The five kinds, as tokenizer.cpp makes and reads them. Internal.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "formats/json.hpp"
#include "fovea/formats/tokenizer.hpp"

namespace fovea::formats {

using Texts = std::span<const std::string_view>;

std::unique_ptr<Tokenizer> make_byte_tokenizer(bool special_tokens);
std::unique_ptr<Tokenizer> parse_byte_tokenizer(const Json& model, std::string_view where);

std::unique_ptr<Tokenizer> train_character_tokenizer(Texts texts, const TokenizerOptions& options);
std::unique_ptr<Tokenizer> parse_character_tokenizer(const Json& model, std::string_view where);

std::unique_ptr<Tokenizer> train_word_tokenizer(Texts texts, const TokenizerOptions& options);
std::unique_ptr<Tokenizer> parse_word_tokenizer(const Json& model, std::string_view where);

// kUnigram or kBpe, as the model itself says.
std::unique_ptr<Tokenizer> train_sentencepiece_tokenizer(Texts texts, const TokenizerOptions& options);
std::unique_ptr<Tokenizer> parse_sentencepiece_tokenizer(const Json& model, std::string_view where);
std::unique_ptr<Tokenizer> load_sentencepiece_model(std::string bytes, std::string_view where);

// The frame around a kind's own members: format, version, kind, model, crc32c.
std::string frame_tokenizer(TokenizerKind kind, Json model);

}  // namespace fovea::formats
