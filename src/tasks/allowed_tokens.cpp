#include "tasks/allowed_tokens.hpp"

#include <limits>

namespace fovea::tasks {

AllowedTokens::AllowedTokens(const formats::Tokenizer& tokenizer)
    : uses_(static_cast<size_t>(tokenizer.vocab_size()), Use::kNever), bytes_(uses_.size()) {
  for (size_t id = 0; id < uses_.size(); ++id) {
    const auto token = static_cast<int32_t>(id);
    const int32_t byte = tokenizer.byte_of(token);
    if (token == tokenizer.eos_id()) {
      uses_[id] = Use::kEnd;
    } else if (byte >= 0) {
      uses_[id] = Use::kByte;
      bytes_[id] = static_cast<uint8_t>(byte);
    } else if (tokenizer.is_text(token)) {
      uses_[id] = Use::kText;
    }
  }
}

bool AllowedTokens::allows(size_t id) const {
  const uint8_t byte = bytes_[id];
  switch (uses_[id]) {
    case Use::kNever:
      return false;
    case Use::kEnd:
      return true;
    case Use::kText:
      return whole();
    case Use::kByte:
      // The bytes that begin a character (Unicode 15, table 3-7).
      return whole() ? byte < 0x80 || (byte >= 0xC2 && byte <= 0xF4) : byte >= low_ && byte <= high_;
  }
  return false;
}

bool AllowedTokens::restrict_to(std::span<float> logits) const {
  bool any = false;
  for (size_t id = 0; id < logits.size(); ++id) {
    if (allows(id)) {
      any = true;
    } else {
      logits[id] = -std::numeric_limits<float>::infinity();
    }
  }
  return any;
}

void AllowedTokens::follow(int32_t id) {
  if (uses_[static_cast<size_t>(id)] != Use::kByte) return;
  const uint8_t byte = bytes_[static_cast<size_t>(id)];
  if (missing_ > 0) {
    --missing_;
    low_ = 0x80;
    high_ = 0xBF;
    return;
  }
  missing_ = byte < 0xC2 ? 0 : byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
  // The second byte rules out overlong forms, surrogates and values beyond U+10FFFF.
  low_ = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
  high_ = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
}

}  // namespace fovea::tasks
