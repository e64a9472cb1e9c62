// Finding a text's encoding and turning it into UTF-8. Internal.
#pragma once

#include <string>

#include "fovea/data/read.hpp"

namespace fovea::data {

// Fills report.encoding and report.byte_order_mark, and gives the text as UTF-8 without its mark.
// DataError for files that are no text at all (compressed ones, spreadsheets).
std::string decode_text(std::string bytes, const ReadOptions& options, ReadReport& report);

}  // namespace fovea::data
