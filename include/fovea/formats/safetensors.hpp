// safetensors: named tensors in one file, as Hugging Face reads and writes them
// (docs/formats/safetensors.md). Fovea adds one key to the metadata, "fovea.crc32c": the CRC-32C of header
// and data in eight hexadecimal digits, checked on load when it is there.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/tensor/tensor.hpp"

namespace fovea::formats {

// One entry of a file.
struct NamedTensor {
  std::string name;  // UTF-8, unique within the file
  Tensor tensor;     // of any dtype
};

// The file's "__metadata__": text under names, in alphabetical order.
using Metadata = std::map<std::string, std::string>;

// A whole file in memory of its own.
struct SafeTensors {
  std::vector<NamedTensor> tensors;  // in the order of their data
  Metadata metadata;                 // without "fovea.crc32c"

  // Null when there is none of that name.
  const Tensor* find(std::string_view name) const;
  // The tensor, or ArgumentError that names the nearest one there is.
  const Tensor& at(std::string_view name) const;
};

// Reads a file, or bytes already in memory (`where` stands in the errors). Every length is checked against
// the file's size before memory is taken. DataError: truncated, a header that is not JSON, an unknown dtype,
// a shape of more than six dimensions, byte ranges that overlap, leave holes or do not fit the shape, a
// repeated name, a checksum that differs.
SafeTensors load_safetensors(const std::filesystem::path& path);
SafeTensors parse_safetensors(std::span<const std::byte> bytes, std::string_view where);

// Writes atomically (see file.hpp), wider element types first so that every tensor's data is aligned to its
// element. ArgumentError: an undefined tensor, a repeated or reserved name ("__metadata__"), a name that is
// not UTF-8.
void save_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                      const Metadata& metadata = {});

}  // namespace fovea::formats
