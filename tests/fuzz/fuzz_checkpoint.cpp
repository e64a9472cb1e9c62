// Checkpoints: loaded, or refused with DataError.
#include <unistd.h>

#include <filesystem>
#include <string>

#include "fovea/base/error.hpp"
#include "fovea/formats/file.hpp"
#include "tests/fuzz/small_run.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // load_checkpoint takes a file. A plain write: an atomic one would sync the disk every time.
  static const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("fovea_fuzz_checkpoint_" + std::to_string(::getpid()));
  if (FILE* file = std::fopen(path.c_str(), "wb"); file != nullptr) {
    std::fwrite(data, 1, size, file);
    std::fclose(file);
  }
  static fovea::fuzz::SmallRun run;
  try {
    fovea::train::load_checkpoint(path, run.state());
  } catch (const fovea::DataError&) {
  }
  std::filesystem::remove(path);
  return 0;
}
