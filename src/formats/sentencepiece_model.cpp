#include "formats/sentencepiece_model.hpp"

#include <array>
#include <cstdint>

#include "base/check.hpp"

namespace fovea::formats {

namespace {

// Reads one varint of at most 63 bits; -1 where there is none.
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
        if (value < 0) ++at;  // a negative number has a tenth byte; none of those matter here
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

// Field numbers of sentencepiece_model.proto.
constexpr int64_t kPieces = 1;
constexpr int64_t kTrainerSpec = 2;
constexpr int64_t kNormalizerSpec = 3;
constexpr int64_t kPieceType = 3;
constexpr int64_t kUserDefined = 4;
constexpr int64_t kModelType = 3;

}  // namespace

SentencePieceFacts read_sentencepiece_facts(std::string_view model, std::string_view where) {
  SentencePieceFacts facts;
  int64_t type = 1;
  const bool ok = visit_message(model, [&](int64_t field, int64_t, std::string_view body) {
    visit_message(body, [&](int64_t inner, int64_t value, std::string_view text) {
      if (field == kPieces && inner == kPieceType && value == kUserDefined) facts.user_defined = true;
      if (field == kTrainerSpec && inner == kModelType) type = value;
      if (field != kNormalizerSpec) return;
      if (inner == 1) facts.normalizer = text;
      if (inner == 3) facts.add_dummy_prefix = value != 0;
      if (inner == 4) facts.remove_extra_spaces = value != 0;
      if (inner == 5) facts.escape_spaces = value != 0;
    });
  });
  check_data(ok && !model.empty(), where,
             "expected a SentencePiece model, found other bytes or a damaged one");
  check_data(
      type == 1 || type == 2, where,
      "expected a unigram (1) or BPE (2) model, found type {}; train it with --model_type=unigram or bpe",
      type);
  facts.type = static_cast<SentencePieceType>(type);
  return facts;
}

std::string as_character_model(std::string_view model) {
  // TrainerSpec { model_type: CHAR, byte_fallback: false }: fields that come later win, so they are appended.
  constexpr std::array<char, 7> kAsCharacters{0x12, 5, 0x18, 4, '\x98', 2, 0};
  std::string changed(model);
  changed.append(kAsCharacters.data(), kAsCharacters.size());
  return changed;
}

}  // namespace fovea::formats
