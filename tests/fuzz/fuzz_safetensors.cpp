// safetensors: read, or refused with DataError; no header makes the reader take more memory than the file
// has.
#include <cstdlib>
#include <span>

#include "fovea/base/error.hpp"
#include "fovea/formats/safetensors.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto read =
        fovea::formats::parse_safetensors(std::as_bytes(std::span(data, size)), "input.safetensors");
    size_t bytes = 0;
    for (const auto& [name, tensor] : read.tensors) bytes += static_cast<size_t>(tensor.nbytes());
    if (bytes > size) std::abort();
  } catch (const fovea::DataError&) {
  }
  return 0;
}
