// Sub-word regularisation for a SentencePiece model: what the library normalises, cut here at random, because
// the library's own generator is global and cannot be seeded for one call. Internal; any number of threads.
#pragma once

#include <sentencepiece_processor.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "formats/segmentation.hpp"
#include "formats/sentencepiece_model.hpp"
#include "fovea/formats/tokenizer.hpp"

namespace fovea::formats {

// The value of a byte's piece, "<0x0A>"; -1 for another text.
int32_t byte_piece(std::string_view piece);

class SentencePieceSampler {
 public:
  // `processor` and `bytes` are the model, and outlive the sampler.
  SentencePieceSampler(const sentencepiece::SentencePieceProcessor& processor, std::string_view bytes,
                       const SentencePieceFacts& facts, std::string_view where);

  Encoding sample(std::string_view text, const Sampling& sampling) const;

  // The two ways to normalise, which agree where both apply (a test holds them together): through the
  // library, and for ASCII under the rules that Fovea trains with. `places[i]` is unit i in the original.
  Units normalize(std::string_view text, std::vector<Span>& places) const;
  Units normalize_ascii(std::string_view text, std::vector<Span>& places) const;
  bool has_ascii_rules() const { return ascii_rules_; }

 private:
  void push_unknown(Encoding& encoding, const Units& units, const Segment& segment, Span span) const;

  std::unique_ptr<sentencepiece::SentencePieceProcessor> characters_;
  PieceModel pieces_;
  SentencePieceType type_;
  bool ascii_rules_ = false;
  bool fold_case_ = false;
  int32_t unk_ = 0;
  bool byte_fallback_ = false;
  std::array<int32_t, 256> byte_ids_;
};

}  // namespace fovea::formats
