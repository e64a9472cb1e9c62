// PageData as the JSON block of the page (docs/formats/page.md). Internal: brings nlohmann in.
#pragma once

#include <nlohmann/json.hpp>

#include "fovea/explain/page.hpp"

namespace fovea::explain {

nlohmann::json page_json(const PageData& data, const PageOptions& options);

}  // namespace fovea::explain
