// metrics.jsonl: the course of a run, one JSON object a line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

#include "fovea/tasks/task.hpp"

namespace fovea::train {

class Journal {
 public:
  // Opens for appending. Lines of steps after `last_step` are dropped first: a run that was killed between
  // two checkpoints will write them again. last_step < 0 begins anew. DataError when the file cannot be
  // written.
  Journal(std::filesystem::path file, int64_t last_step);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  void step(int64_t step, int64_t epoch, double loss, double learning_rate, double gradient_norm,
            int64_t tokens, double seconds);
  void validation(int64_t step, std::span<const tasks::Figure> figures);

 private:
  void write(const std::string& line);
  std::filesystem::path file_;
  int descriptor_ = -1;
};

}  // namespace fovea::train
