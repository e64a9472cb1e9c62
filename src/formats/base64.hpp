// Base 64 (RFC 4648), for bytes inside JSON. Internal.
#pragma once

#include <string>
#include <string_view>

namespace fovea::formats {

std::string base64_encode(std::string_view bytes);
// DataError when the text is not base 64 with its padding.
std::string base64_decode(std::string_view text, std::string_view where);

}  // namespace fovea::formats
