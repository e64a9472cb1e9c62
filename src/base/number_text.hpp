// Numbers as text, in no country's spelling: strtod, stod and streams read "0.5" as 0 in a process whose
// locale writes a decimal comma, which a host or Python's locale.setlocale may have chosen.
#pragma once

#include <charconv>
#include <optional>
#include <string_view>

namespace fovea {

// The whole text as a number in C's notation, without a plus sign; nothing for any other text. float overflow
// is no number.
template <typename T>
std::optional<T> number_in(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Decimal, or as C writes a double in base 16: "0x1.8p+0", "-0x1p-3", "inf".
inline std::optional<double> number_of_any_base_in(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const bool hexadecimal = text.starts_with("0x");
  if (hexadecimal) text.remove_prefix(2);
  if (text.starts_with('-')) return std::nullopt;
  double value = 0.0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value,
                      hexadecimal ? std::chars_format::hex : std::chars_format::general);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return negative ? -value : value;
}

}  // namespace fovea
