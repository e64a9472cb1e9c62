// How a table is to be read, as options of a command. What is not given is found out.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "fovea/data/read.hpp"

namespace fovea::cli {

class ReadArguments {
 public:
  void add_to(CLI::App& command);
  data::ReadOptions options() const;

 private:
  std::string format_;
  std::string delimiter_;
  std::string encoding_;
  std::string header_;
};

}  // namespace fovea::cli
