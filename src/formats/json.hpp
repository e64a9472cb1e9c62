// JSON from outside: bounded, with errors that name the file. Internal.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/check.hpp"

namespace fovea::formats {

// Objects keep the order of their keys, so that what we write is stable and readable.
using Json = nlohmann::ordered_json;

// Parses a whole text. DataError "where: expected JSON, found …" for anything malformed, deeper than 64
// levels, or with a key twice in one object (readers differ on which of the two counts, so neither may).
Json parse_json(std::string_view text, std::string_view where);

// A member that must be there and of the type asked for: DataError "where: expected "key" to be a string, …".
template <class T>
T json_member(const Json& object, const char* key, std::string_view where) {
  const auto found = object.find(key);
  if (found == object.end())
    throw_data(where, "expected a key \"{}\", found none; the file is damaged or of another kind", key);
  try {
    return found->template get<T>();
  } catch (const nlohmann::json::exception&) {
    throw_data(where, "expected another type under \"{}\", found {}", key, found->type_name());
  }
}

}  // namespace fovea::formats
