// The command line as a whole: parse, call, print. One file a command; each adds itself to the CLI11
// application and leaves in `Invocation` what is to be run when the line has been understood.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "cli/console.hpp"
#include "cli/options.hpp"

namespace fovea::cli {

struct Invocation {
  CommonOptions common;
  std::string command_line;  // as typed, quoted where a shell needs it
  // Set by the chosen command; gives the exit code. Runs after the common options have taken effect.
  std::function<int(const CommonOptions&, Console&)> command;
};

// Makes a subcommand whose help ends with examples (lines without the leading "  ") and the options that hold
// everywhere.
CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& description,
                      const std::vector<std::string>& examples);

void add_train(CLI::App& app, Invocation& invocation);
void add_evaluate(CLI::App& app, Invocation& invocation);
void add_predict(CLI::App& app, Invocation& invocation);
void add_generate(CLI::App& app, Invocation& invocation);
void add_explain(CLI::App& app, Invocation& invocation);
void add_data(CLI::App& app, Invocation& invocation);
void add_info(CLI::App& app, Invocation& invocation);

// The result, on standard output, ended with a newline. As much of it as is printed is with the reader after
// flush_results, which whoever answers piece by piece calls. DataError when it cannot be written, and
// ClosedOutput when nobody reads it any more: the command then ends without a word.
void print_result(std::string_view text);
void print_part(std::string_view text);  // without the newline
void flush_results();

class ClosedOutput : public std::exception {};

}  // namespace fovea::cli
