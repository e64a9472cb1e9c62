// A bias by distance, as Python hands it over.
#pragma once

#include "fovea/attention/inputs.hpp"

namespace fovea::python {

// RelativeBias without its table, which comes as a parameter of the call's real type.
struct Relative {
  bool buckets = true, bidirectional = true;
  int64_t rows = 0, max_distance = 0;
  RelativeBias view() const {
    return {nullptr, rows, max_distance, bidirectional,
            buckets ? RelativeKind::kBuckets : RelativeKind::kDistances};
  }
};

}  // namespace fovea::python
