// Comma-separated values and plain text: read, or refused with DataError; what was read has its shape.
#include <cstdlib>

#include "fovea/base/error.hpp"
#include "fovea/data/check.hpp"
#include "fovea/data/stats.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fovea::data;
  if (size == 0) return 0;
  ReadOptions options;
  options.max_cell_bytes = 1000;
  // The first byte chooses how to read the rest.
  const uint8_t mode = data[0];
  if ((mode & 3) == 1) options.format = FileFormat::kLines;
  if ((mode & 3) == 2) options.format = FileFormat::kDocument;
  if ((mode & 4) != 0) options.quoting = Quoting::kNone;
  if ((mode & 8) != 0) options.header = Header::kAbsent;
  try {
    const ReadResult read =
        parse_table(std::string(reinterpret_cast<const char*>(data) + 1, size - 1), "input.csv", options);
    int64_t last = 0;
    for (int64_t r = 0; r < read.table.rows(); ++r) {
      if (read.table.line(r) <= last) std::abort();
      last = read.table.line(r);
    }
    check(read.table, {.target = read.table.names()[0]}).to_json();
    stats(read).to_json();
    read.report.to_json();
  } catch (const fovea::DataError&) {
  }
  return 0;
}
