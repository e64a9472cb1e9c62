#include "formats/json.hpp"

#include <unordered_set>
#include <vector>

namespace fovea::formats {

Json parse_json(std::string_view text, std::string_view where) {
  constexpr int kMaxDepth = 64;
  std::vector<std::unordered_set<std::string>> keys;
  std::string problem;
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
        throw_data(where, "expected each JSON key once, found \"{}\" twice", key);
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), callback);
  } catch (const nlohmann::json::parse_error& error) {
    throw_data(where, "expected JSON, found a mistake at byte {}: {}", error.byte, error.what());
  } catch (const nlohmann::json::exception& error) {
    throw_data(where, "expected JSON, found a mistake: {}", error.what());
  }
}

}  // namespace fovea::formats
