// JSON from outside: bounded, with errors that name the file. Internal.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/check.hpp"

namespace fovea::formats {

// Objects keep the order of their keys, so that what we write is stable and readable.
using Json = nlohmann::ordered_json;

// Parses a whole text. DataError "where: expected JSON, found …" for anything malformed, deeper than 64
// levels, or with a key twice in one object (readers differ on which of the two counts, so neither may).
Json parse_json(std::string_view text, std::string_view where);

// What a value is called in messages: "text", "a whole number", "a list", …
const char* json_kind(const Json& value);

// Sets `out` and says true where the value is of its type. The parser's library would take true for 1, 2.9
// for 2, and a number too large for another one; these do not.
bool take_json(const Json& value, std::string& out);
bool take_json(const Json& value, bool& out);
bool take_json(const Json& value, int64_t& out);
bool take_json(const Json& value, int& out);
bool take_json(const Json& value, uint32_t& out);
bool take_json(const Json& value, double& out);
bool take_json(const Json& value, float& out);
bool take_json(const Json& value, Json& out);
template <class T>
bool take_json(const Json& value, std::vector<T>& out) {
  if (!value.is_array()) return false;
  out.resize(value.size());
  for (size_t i = 0; i < out.size(); ++i) {
    if (!take_json(value[i], out[i])) return false;
  }
  return true;
}

// What `T` is called in messages.
template <class T>
constexpr const char* json_wanted() {
  if constexpr (std::is_same_v<T, std::string>) return "text";
  if constexpr (std::is_same_v<T, bool>) return "true or false";
  if constexpr (std::is_same_v<T, int64_t> || std::is_same_v<T, int>) return "a whole number";
  if constexpr (std::is_same_v<T, uint32_t>) return "a whole number from 0 to 4294967295";
  if constexpr (std::is_same_v<T, double> || std::is_same_v<T, float>) return "a number";
  if constexpr (std::is_same_v<T, std::vector<std::string>>) return "a list of texts";
  if constexpr (std::is_same_v<T, std::vector<uint32_t>>)
    return "a list of whole numbers from 0 to 4294967295";
  return "a value";
}

// A member that must be there and of the type asked for: DataError "where: expected text under "key", …".
template <class T>
T json_member(const Json& object, std::string_view key, std::string_view where) {
  const auto found = object.find(key);
  if (found == object.end())
    throw_data(where, "expected a key \"{}\", found none; the file is damaged or of another kind", key);
  T value{};
  if (!take_json(*found, value)) {
    throw_data(where, "expected {} under \"{}\", found {}; the file is damaged or of another kind",
               json_wanted<T>(), key, json_kind(*found));
  }
  return value;
}

}  // namespace fovea::formats
