// Which tokens may come next in a generated text, so that it is text: no unknown, padding or other special
// token but the end's, and bytes only where they are UTF-8. Internal.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fovea/formats/tokenizer.hpp"

namespace fovea::tasks {

class AllowedTokens {
 public:
  explicit AllowedTokens(const formats::Tokenizer& tokenizer);

  // Sets the logits [vocab_size] of tokens that may not come next to −∞; false when none may.
  bool restrict_to(std::span<float> logits) const;
  // Tells of the token that was chosen.
  void follow(int32_t id);
  // Whether the text ends with a whole character.
  bool whole() const { return missing_ == 0; }

 private:
  bool allows(size_t id) const;

  enum class Use : uint8_t { kNever, kEnd, kText, kByte };
  std::vector<Use> uses_;             // by id
  std::vector<uint8_t> bytes_;        // by id, for kByte
  int missing_ = 0;                   // bytes that the last character lacks
  uint8_t low_ = 0x80, high_ = 0xBF;  // of the next of them
};

}  // namespace fovea::tasks
