// Words of a text by the Unicode rules (UAX #29), and case folding. Any number of threads.
#pragma once

#include <string>
#include <string_view>

#include "fovea/base/function_ref.hpp"
#include "fovea/formats/tokenizer.hpp"

namespace fovea::formats {

// Calls emit(span) for every word, number and punctuation mark in order; white space and control characters
// are left out. "Can't stop, 3.5%" gives: Can't · stop · , · 3.5 · %. ArgumentError for a text of 2^31 bytes
// or more.
void for_each_word(std::string_view text, FunctionRef<void(Span)> emit);

// White space by the Unicode rules: blanks of every width, line ends, tabs.
bool is_white_space(char32_t character);

// Lower case by the Unicode rules, no language's own ("ß" stays, "İ" becomes "i̇"). Invalid bytes become
// U+FFFD.
std::string lower_case(std::string_view text);

}  // namespace fovea::formats
