#include "cli/read_options.hpp"

#include "base/check.hpp"

namespace fovea::cli {

void ReadArguments::add_to(CLI::App& command) {
  command.add_option("--format", format_, "csv, jsonl, lines or document (default: found out)")
      ->group("Reading");
  command
      .add_option("--delimiter", delimiter_, "Between the fields: a character, or 'tab' (default: found out)")
      ->group("Reading");
  command.add_option("--header", header_, "Whether the first row names the columns (default: found out)")
      ->check(CLI::IsMember({"yes", "no"}))
      ->group("Reading");
  command.add_option("--encoding", encoding_, "utf-8, utf-16le, utf-16be or latin-1 (default: found out)")
      ->group("Reading");
}

data::ReadOptions ReadArguments::options() const {
  data::ReadOptions options;
  if (!format_.empty()) options.format = data::file_format(format_);
  if (!encoding_.empty()) options.encoding = data::text_encoding(encoding_);
  if (!header_.empty()) options.header = header_ == "yes" ? data::Header::kPresent : data::Header::kAbsent;
  if (!delimiter_.empty()) {
    const bool tab = delimiter_ == "tab" || delimiter_ == "\\t";
    check_argument(tab || delimiter_.size() == 1, "--delimiter", "expected one character or 'tab', got '{}'",
                   delimiter_);
    options.delimiter = tab ? '\t' : delimiter_[0];
  }
  return options;
}

}  // namespace fovea::cli
