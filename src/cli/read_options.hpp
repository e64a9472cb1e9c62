// How a file is to be read, as options of a command: the names and values of data::read_option_names, which
// are those of recipes. What is not given is found out.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <string_view>

#include "fovea/data/read.hpp"

namespace fovea::cli {

class ReadArguments {
 public:
  void add_to(CLI::App& command);
  // ArgumentError for a value that the option does not know.
  data::ReadOptions options() const;
  // ArgumentError when any but --encoding is given: `what` reads running text.
  data::ReadOptions text_options(std::string_view what) const;

 private:
  std::map<std::string, std::string> values_;  // by the option's name; empty: not given
};

// The table in a file, or in standard input ("-"), which is read to its end.
data::ReadResult read_input(const std::string& file, const data::ReadOptions& options);
data::ReadText read_text_input(const std::string& file, const data::ReadOptions& options);

}  // namespace fovea::cli
