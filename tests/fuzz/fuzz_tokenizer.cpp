// tokenizer.json: read, or refused with DataError. Most inputs fail at the checksum, so an input is also
// taken as the inner model and framed with a right one. SentencePiece's own reader is another project's: of
// its models only the part that is read here is tried.
#include <cstdlib>

#include "formats/sentencepiece_model.hpp"
#include "formats/tokenizer_kinds.hpp"
#include "fovea/base/error.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fovea::formats;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    Tokenizer::parse(text, "tokenizer.json");
  } catch (const fovea::DataError&) {
  }
  try {
    read_sentencepiece_facts(text, "tokenizer.model");
  } catch (const fovea::DataError&) {
  }
  for (const TokenizerKind kind :
       {TokenizerKind::kBytes, TokenizerKind::kCharacters, TokenizerKind::kWords}) {
    try {
      const auto tokenizer =
          Tokenizer::parse(frame_tokenizer(kind, parse_json(text, "model")), "tokenizer.json");
      const Encoding encoding = tokenizer->encode(text);
      if (encoding.ids.size() != encoding.spans.size()) std::abort();
      tokenizer->decode(encoding.ids);
      for (const int32_t id : encoding.ids) tokenizer->piece(id);
    } catch (const fovea::DataError&) {
    }
  }
  return 0;
}
