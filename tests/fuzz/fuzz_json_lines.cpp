// JSON Lines: read, or refused with DataError.
#include "fovea/base/error.hpp"
#include "fovea/data/read.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fovea::data::ReadOptions options;
  options.format = fovea::data::FileFormat::kJsonLines;
  options.max_cell_bytes = 1000;
  try {
    const auto read = fovea::data::parse_table(std::string(reinterpret_cast<const char*>(data), size),
                                               "input.jsonl", options);
    read.report.to_json();
  } catch (const fovea::DataError&) {
  }
  return 0;
}
