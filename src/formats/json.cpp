#include "formats/json.hpp"

#include <cmath>
#include <limits>
#include <unordered_set>
#include <utility>

#include "fovea/formats/printable.hpp"

namespace fovea::formats {

namespace {

template <class T>
bool take_whole(const Json& value, T& out) {
  using Limits = std::numeric_limits<T>;
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    if (std::cmp_greater(number, Limits::max())) return false;
    out = static_cast<T>(number);
    return true;
  }
  if (!value.is_number_integer()) return false;
  const auto number = value.get<int64_t>();
  if (std::cmp_less(number, Limits::min()) || std::cmp_greater(number, Limits::max())) return false;
  out = static_cast<T>(number);
  return true;
}

// The byte that a parser's error counts from 1; behind the last one, the text ended too early.
[[noreturn]] void throw_mistake(std::string_view where, size_t byte, size_t size) {
  if (byte > size)
    throw_data(where, "expected JSON, found its end too early, after {} bytes; copy the file again", size);
  throw_data(where, "expected JSON, found a mistake at byte {}; copy the file again", byte);
}

}  // namespace

Json parse_json(std::string_view text, std::string_view where) {
  constexpr int kMaxDepth = 64;
  std::vector<std::unordered_set<std::string>> keys;
  const auto callback = [&](int depth, nlohmann::json::parse_event_t event, Json& parsed) {
    using Event = nlohmann::json::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) {
      if (depth >= kMaxDepth) throw_data(where, "expected JSON of at most {} levels, found more", kMaxDepth);
      if (event == Event::object_start) keys.emplace_back();
    } else if (event == Event::object_end) {
      if (!keys.empty()) keys.pop_back();
    } else if (event == Event::key && !keys.empty()) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys.back().insert(key).second)
        throw_data(where, "expected each JSON key once, found \"{}\" twice", printable(key, 60));
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), callback);
  } catch (const nlohmann::json::parse_error& error) {
    throw_mistake(where, error.byte, text.size());
  } catch (const nlohmann::json::out_of_range&) {
    throw_data(where, "expected JSON with numbers up to 1.8e308, found a larger one; copy the file again");
  }
}

const char* json_kind(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "a list";
    case Json::value_t::string:
      return "text";
    case Json::value_t::boolean:
      return "true or false";
    case Json::value_t::number_integer:
      return "a whole number below 0";
    case Json::value_t::number_unsigned:
      return "a whole number";
    case Json::value_t::number_float:
      return "a number with a fraction or an exponent";
    default:
      return "another value";
  }
}

bool take_json(const Json& value, std::string& out) {
  if (value.is_string()) out = value.get_ref<const std::string&>();
  return value.is_string();
}

bool take_json(const Json& value, bool& out) {
  if (value.is_boolean()) out = value.get<bool>();
  return value.is_boolean();
}

bool take_json(const Json& value, int64_t& out) {
  return take_whole(value, out);
}

bool take_json(const Json& value, int& out) {
  return take_whole(value, out);
}

bool take_json(const Json& value, uint32_t& out) {
  return take_whole(value, out);
}

bool take_json(const Json& value, double& out) {
  if (value.is_number()) out = value.get<double>();
  return value.is_number();
}

bool take_json(const Json& value, float& out) {
  double wide = 0;
  if (!take_json(value, wide) || std::abs(wide) > static_cast<double>(std::numeric_limits<float>::max()))
    return false;
  out = static_cast<float>(wide);
  return true;
}

bool take_json(const Json& value, Json& out) {
  out = value;
  return true;
}

}  // namespace fovea::formats
