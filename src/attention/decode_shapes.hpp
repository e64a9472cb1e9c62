// A decoding call as the checks of attention know it.
#pragma once

#include <vector>

#include "fovea/attention/decode.hpp"

namespace fovea {

// The shapes and options of the call, the caches' contents aside: k and v have the right dimensions and must
// not be read. `lengths` receives the caches'. ArgumentError in the name of `call` where caches do not fit.
AttentionInputs decode_shapes(const char* call, const DecodeInputs& inputs, std::vector<int64_t>& lengths);

}  // namespace fovea
