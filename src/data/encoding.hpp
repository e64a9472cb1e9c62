// Finding a text's encoding and turning it into UTF-8 (docs/formats/tables.md has the rule). Internal.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "fovea/data/read.hpp"
#include "fovea/formats/utf8.hpp"

namespace fovea::data {

// Which of UTF-8 and Windows-1252 bytes are, by the sequences that show it: valid ones of several bytes, and
// invalid bytes. One stray byte does not make a UTF-8 file another.
class Utf8Evidence {
 public:
  void add(std::string_view text);
  // At least as many valid sequences as invalid bytes.
  bool is_utf8() const { return valid_ >= invalid_; }

 private:
  int64_t valid_ = 0;
  int64_t invalid_ = 0;
};

// The byte order when the beginning of a text without a mark is UTF-16: one byte in five is zero and nine in
// ten of those stand on one side; or the text is not valid UTF-8, has spaces, commas or line ends of one
// order, and nothing amiss in it.
std::optional<TextEncoding> find_utf16(std::string_view bytes);

// A byte-order mark: its encoding and length; kUtf8 and 0 when there is none.
struct Mark {
  TextEncoding encoding = TextEncoding::kUtf8;
  size_t length = 0;
};
Mark find_mark(std::string_view bytes);

// The encoding that the first bytes show, given what is asked for: never kUtf16. Unset means UTF-8 or
// Windows-1252, for the whole text to tell. Fills report.byte_order_mark and gives the mark's length in
// `mark`.
std::optional<TextEncoding> beginning_encoding(std::string_view bytes, std::optional<TextEncoding> asked,
                                               size_t& mark);

// As UTF-8, from any encoding but kUtf16.
std::string to_utf8(std::string_view bytes, TextEncoding encoding, formats::Replacements& found);

// Fills report.encoding, byte_order_mark, replaced and replaced_line, and gives the text as valid UTF-8
// without its mark. DataError for files that are no text at all.
std::string decode_text(std::string bytes, const ReadOptions& options, ReadReport& report);

}  // namespace fovea::data
