// All bytes of an input, within bounds. Internal.
#pragma once

#include <string>
#include <string_view>

#include "fovea/data/read.hpp"
#include "fovea/formats/file.hpp"

namespace fovea::data {

// The memory that this process may have: the machine's, or less where its control group or its limit on
// address space says so.
int64_t memory_for_process();

// DataError for more than options.max_file_bytes or a quarter of the memory, and, before more than the first
// block is taken, for what is no text.
std::string read_bytes(const ByteSource& source, std::string_view name, const ReadOptions& options);
std::string read_bytes(formats::InputStream& file, const ReadOptions& options);

}  // namespace fovea::data
