// DataDigest: what a model was trained on, small enough to be kept beside it (data.json,
// docs/formats/model.md). Equal digests mean equal texts and targets, in the same order, in the same splits,
// whatever the file is called, when it was written and how it was read. CRC-32C, so for finding changes by
// accident.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::tasks {

// One file's contents, cut into at most 1,024 blocks of equally many rows (of one text: bytes), so that the
// place of a change can be told.
struct DataPart {
  std::string source;                 // the file's path, for messages; never compared
  int64_t rows = 0;                   // of a running text: bytes
  int64_t block = 1;                  // rows a block
  std::vector<uint32_t> checksums{};  // [blocks]
  std::vector<int64_t> lines{};       // line of each block's first row; empty: unknown. Not kept in the file
};

// The digest of all the data of a run.
struct DataDigest {
  std::string unit = "rows";      // or "bytes"
  std::string text, target;       // columns; empty: there are none
  std::vector<DataPart> parts{};  // one a file
  // Which rows a split has.
  struct SplitDigest {
    int64_t rows = 0;       // how many
    uint32_t checksum = 0;  // of the split's rows, by number and in the split's order
    bool operator==(const SplitDigest&) const = default;
  };
  std::array<SplitDigest, 3> splits{};  // training, validation, test

  // What differs in `found` from this digest: "data.csv: expected 400 rows, found 410, the first other one at
  // data.csv:2". Empty when nothing does.
  std::string difference(const DataDigest& found) const;

  void save(const std::filesystem::path& file) const;  // atomic
  // DataError: not there, damaged, of a later version.
  static DataDigest load(const std::filesystem::path& file);
};

// The checksums of `rows` rows: checksum_of(row, before) continues `before` with the row.
template <class ChecksumOf>
DataPart digest_rows(std::string source, int64_t rows, ChecksumOf&& checksum_of) {
  constexpr int64_t kMostBlocks = 1024;
  DataPart part{.source = std::move(source), .rows = rows, .block = rows / kMostBlocks + 1};
  for (int64_t row = 0; row < rows; ++row) {
    if (row % part.block == 0) part.checksums.push_back(0);
    part.checksums.back() = checksum_of(row, part.checksums.back());
  }
  return part;
}

// A cell with its length, so that "ab" "c" differs from "a" "bc".
uint32_t digest_cell(std::string_view cell, uint32_t before);
// A running text by its bytes.
DataPart digest_text(std::string source, std::string_view text);

}  // namespace fovea::tasks
