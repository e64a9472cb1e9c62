#include "models/config_json.hpp"

namespace fovea::models {

int64_t config_number(const formats::Json& config, std::string_view key, int64_t least, int64_t most,
                      std::string_view where) {
  const auto value = formats::json_member<int64_t>(config, key, where);
  check_data(
      value >= least && value <= most, where,
      "expected a whole number from {} to {} under \"{}\", found {}; the file is damaged or of a later "
      "version",
      least, most, key, value);
  return value;
}

ModelKind config_kind(const formats::Json& config, std::string_view where) {
  const auto name = formats::json_member<std::string>(config, "kind", where);
  try {
    return model_kind(name);
  } catch (const ArgumentError&) {
    throw_data(where,
               "expected attention, lstm, cnn, linear or majority under \"kind\", found \"{}\"; the file is "
               "damaged or of a later version",
               name);
  }
}

}  // namespace fovea::models
