// The few facts of a serialised SentencePiece model that the library does not tell. Internal.
#pragma once

#include <string>
#include <string_view>

namespace fovea::formats {

enum class SentencePieceType {
  kUnigram = 1,
  kBpe = 2
};  // TrainerSpec.ModelType of sentencepiece_model.proto

struct SentencePieceFacts {
  SentencePieceType type = SentencePieceType::kUnigram;
  std::string normalizer;           // "nmt_nfkc", "identity", …
  bool add_dummy_prefix = true;     // "▁" before the first word
  bool remove_extra_spaces = true;  // runs of spaces are one, none at the ends
  bool escape_spaces = true;        // a space is "▁"
  bool user_defined = false;        // pieces that are matched before all others
};

// DataError when the bytes are no such model, or of a type other than unigram and BPE.
SentencePieceFacts read_sentencepiece_facts(std::string_view model, std::string_view where);

// The same model as one that cuts text into characters (see SentencePieceSampler).
std::string as_character_model(std::string_view model);

}  // namespace fovea::formats
