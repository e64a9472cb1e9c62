// Text from outside as a message may show it: on one line, in valid UTF-8, harmless to a terminal. Pure
// functions. Whatever quotes data in an error, a log line or a table for people goes through here.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace fovea::formats {

// A whole file's name and most cells; longer ones are cut, because a message is one line.
inline constexpr size_t kPrintedCharacters = 200;

// The text with every character that a terminal would obey, or that would turn the reading direction, written
// as it is written in source text: "\n", "\t", "\x1b", "\u202e". An invalid byte becomes U+FFFD. More than
// `characters` of them are cut, with "…" at the end.
std::string printable(std::string_view text, size_t characters = kPrintedCharacters);

// The same of running text, whole and over as many lines as it has: newlines and tabs stay what they are.
std::string printable_lines(std::string_view text);

// "a, b, c": each printable, at most ten, then "… and 32 more".
std::string printable_list(std::span<const std::string> names);

}  // namespace fovea::formats
