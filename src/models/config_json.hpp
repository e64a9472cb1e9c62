// What the models' configurations share when they are read from a config.json. Internal.
#pragma once

#include <cstdint>
#include <string_view>

#include "formats/json.hpp"
#include "fovea/models/kind.hpp"
#include "fovea/models/language_model.hpp"
#include "fovea/models/text_classifier.hpp"

namespace fovea::models {

constexpr int64_t kMostSize = (int64_t{1} << 31) - 1;

// A whole number between two bounds; DataError "where: expected … under "key", found …".
int64_t config_number(const formats::Json& config, std::string_view key, int64_t least, int64_t most,
                      std::string_view where);
// Under "kind"; DataError for none that there is.
ModelKind config_kind(const formats::Json& config, std::string_view where);

// A number of parameters that every model of this configuration has at least: what its file of weights
// cannot hold must not be asked of the memory. A double, because damaged sizes may multiply beyond 2^63.
double least_parameters(const TextClassifierConfig& config);
double least_parameters(const LanguageModelConfig& config);

}  // namespace fovea::models
