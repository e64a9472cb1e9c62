// Tokenizers: text to token ids and back, with the place of every token in the original text.
// One interface over five kinds: bytes, characters, words, and SentencePiece's unigram and BPE models.
// A Tokenizer does not change once made: any number of threads may use one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/base/random.hpp"

namespace fovea::formats {

// What a token is: a byte, a Unicode character, a word by the Unicode rules (words.hpp), or a piece of a
// vocabulary that was learnt, by unigram probabilities (Kudo 2018) or byte-pair merges (Sennrich et al.
// 2016).
enum class TokenizerKind { kBytes, kCharacters, kWords, kUnigram, kBpe };

// "bytes", "characters", "words", "unigram", "bpe".
const char* to_string(TokenizerKind kind);
// ArgumentError names the five.
TokenizerKind tokenizer_kind(std::string_view name);

// Bytes [begin, end) of the original text, whole characters but for tokens that are single bytes. Empty for a
// token that stands for no byte: SentencePiece's first "▁", and all but the last of the tokens that
// normalising makes of one character ("ﬁ" read as "f" and "i").
struct Span {
  int64_t begin = 0;  // the first byte
  int64_t end = 0;    // the one behind the last
  friend bool operator==(const Span&, const Span&) = default;
};

// A text as tokens.
struct Encoding {
  std::vector<int32_t> ids;  // in [0, vocab_size())
  std::vector<Span> spans;   // one a token, in order, never overlapping
};

// Sub-word regularisation (Kudo 2018; Provilkov et al., BPE-dropout, 2020): another segmentation of the same
// text at every call with another key, the same one for the same key.
struct Sampling {
  // Unigram: a segmentation is drawn with probability ∝ P(segmentation)^strength; 0.2 is customary, 0 draws
  // uniformly. BPE: each merge is skipped with this probability; 0.1 is customary. Others: no effect.
  double strength = 0.2;

  RandomKey key{};  // one of its own for each text and epoch
};

// Made by train_tokenizer or load(); a subclass is one of the five kinds.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Which of the five.
  virtual TokenizerKind kind() const = 0;
  // How many ids there are, special tokens included: what an embedding needs rows for.
  virtual int64_t vocab_size() const = 0;

  // No special token is added. Bytes that are not UTF-8 are read as U+FFFD, their spans being those bytes.
  // The empty text gives no token.
  virtual Encoding encode(std::string_view text) const = 0;
  // The same, drawn anew for another key; kinds other than unigram and BPE encode as ever.
  virtual Encoding encode(std::string_view text, const Sampling& sampling) const;
  // The ids alone, for training.
  virtual std::vector<int32_t> encode_ids(std::string_view text) const;

  // The text of the ids; special tokens give nothing, unknown ones U+FFFD. ArgumentError for an id outside of
  // [0, vocab_size). bytes and characters give back exactly what was encoded; words are joined by spaces;
  // SentencePiece gives its normalised text.
  virtual std::string decode(std::span<const int32_t> ids) const = 0;

  // How a token is shown to people: never empty, always UTF-8 ("<0x0A>", "the", "▁the", "<s>").
  virtual std::string piece(int32_t id) const = 0;

  // Whether a token stands for text. The unknown one and special ones (begin, end, padding, …) do not.
  virtual bool is_text(int32_t id) const = 0;
  // The byte that a token alone stands for, 0 to 255 (bytes; SentencePiece's "<0x0A>" and its like), or -1.
  virtual int32_t byte_of(int32_t) const { return -1; }

  // Ids of the special tokens, -1 for one that this vocabulary lacks. No padding token: nothing is padded.
  virtual int32_t unk_id() const = 0;
  virtual int32_t bos_id() const = 0;
  virtual int32_t eos_id() const = 0;
  virtual int32_t cls_id() const = 0;

  // tokenizer.json as text (docs/formats/tokenizer.md), with a checksum.
  virtual std::string to_json() const = 0;
  // Writes folder/tokenizer.json atomically. DataError as write_atomically.
  void save(const std::filesystem::path& folder) const;

  // Reads a tokenizer.json, or the one in a folder; a "*.model" file is read as a SentencePiece model.
  // DataError: damaged, of a later version, of an unknown kind.
  static std::unique_ptr<Tokenizer> load(const std::filesystem::path& path);
  static std::unique_ptr<Tokenizer> parse(std::string_view json, std::string_view where);
};

// How a vocabulary is made from texts. The defaults suit text of any language and 10^4 to 10^6 sentences.
struct TokenizerOptions {
  TokenizerKind kind = TokenizerKind::kUnigram;  // needs no word boundaries: any language
  // Upper bound on the vocabulary, special tokens included; small texts give fewer. Unigram and BPE: 8,000,
  // the usual choice for models of this size. Characters and words: 0 means no bound.
  int64_t vocab_size = 8000;
  int64_t min_count = 1;       // characters, words: rarer ones become <unk>
  bool lowercase = false;      // words, unigram, BPE: fold case before looking up
  double coverage = 0.9995;    // unigram, BPE: the share of characters that get a piece of their own
  bool special_tokens = true;  // <unk> <s> </s> <cls>; false: only <unk>, and none for bytes
};

// Trains on the texts (which only have to live during the call). The same texts and options give the same
// tokenizer, for any number of threads. ArgumentError: options out of range; DataError: no text at all, or a
// vocab_size too small for the characters of the texts.
std::unique_ptr<Tokenizer> train_tokenizer(std::span<const std::string_view> texts,
                                           const TokenizerOptions& options);

}  // namespace fovea::formats
