// Training of SentencePiece models from texts in memory. Internal.
#pragma once

#include <string>

#include "formats/tokenizer_kinds.hpp"

namespace fovea::formats {

// The serialised model. Says nothing on the terminal; see train_tokenizer for what it throws.
std::string train_sentencepiece_model(Texts texts, const TokenizerOptions& options);

}  // namespace fovea::formats
