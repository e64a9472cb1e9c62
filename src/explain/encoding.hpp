// Bytes as text that a browser can take apart without help: zlib streams (RFC 1950, what DecompressionStream
// calls "deflate") in base64 (RFC 4648).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace fovea::explain {

std::string base64(std::span<const uint8_t> bytes);
std::vector<uint8_t> deflate(std::span<const uint8_t> bytes);
std::string deflated_base64(std::span<const uint8_t> bytes);

}  // namespace fovea::explain
