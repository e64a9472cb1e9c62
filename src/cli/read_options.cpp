#include "cli/read_options.hpp"

#include <unistd.h>

#include "base/check.hpp"
#include "fovea/formats/file.hpp"

namespace fovea::cli {

namespace {

data::ByteSource standard_input() {
  return [](std::span<char> out) { return formats::InputStream(STDIN_FILENO, "standard input").read(out); };
}

}  // namespace

void ReadArguments::add_to(CLI::App& command) {
  for (const data::ReadOptionHelp& option : data::read_option_names()) {
    command
        .add_option(fmt::format("--{}", option.name), values_[option.name],
                    fmt::format("{}: {} (default: {})", option.description, option.values,
                                std::string_view(option.values).starts_with("auto") ? "auto" : "rfc4180"))
        ->option_text("WHAT")
        ->group("Reading");
  }
}

data::ReadOptions ReadArguments::options() const {
  data::ReadOptions options;
  for (const auto& [name, value] : values_) {
    if (value.empty()) continue;
    const std::string wrong = data::set_read_option(options, name, value);
    check_argument(wrong.empty(), "--" + name, "{}", wrong);
  }
  return options;
}

data::ReadOptions ReadArguments::text_options(std::string_view what) const {
  for (const auto& [name, value] : values_) {
    check_argument(value.empty() || name == "encoding", "--" + name,
                   "expected no option for tables, {} reads running text; leave it out", what);
  }
  return options();
}

data::ReadResult read_input(const std::string& file, const data::ReadOptions& options) {
  return file == "-" ? data::read_table(standard_input(), "standard input", options)
                     : data::read_table(file, options);
}

data::ReadText read_text_input(const std::string& file, const data::ReadOptions& options) {
  return file == "-" ? data::read_text(standard_input(), "standard input", options)
                     : data::read_text(file, options);
}

}  // namespace fovea::cli
