// fovea data check | split | stats: tables before anything is trained on them.
#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/check.hpp"
#include "cli/app.hpp"
#include "cli/read_options.hpp"
#include "cli/text.hpp"
#include "fovea/data/check.hpp"
#include "fovea/data/parts.hpp"
#include "fovea/data/read.hpp"
#include "fovea/data/split.hpp"
#include "fovea/data/stats.hpp"

namespace fovea::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

struct CheckArguments {
  std::vector<std::string> files;
  data::CheckOptions options;
  bool strict = false;
  ReadArguments read;
};

int check_files(const CheckArguments& arguments, const CommonOptions& common, Console& console) {
  std::vector<data::NamedTable> parts;
  ordered_json reads = ordered_json::array();
  data::ReadOptions options = arguments.read.options();
  options.wanted = arguments.options.inputs;
  if (!arguments.options.target.empty()) options.wanted.push_back(arguments.options.target);
  for (const std::string& file : arguments.files) {
    const data::ReadResult read = read_input(file, options);
    parts.push_back({arguments.files.size() == 1 ? file : fs::path(file).stem().string(), read.table});
    reads.push_back(ordered_json::parse(read.report.to_json()));
    if (!common.json) console.log(LogLevel::kInfo, read.report.to_text());
  }
  const data::CheckReport report = data::check(parts, arguments.options);
  if (common.json) {
    print_result(ordered_json{{"read", reads}, {"check", ordered_json::parse(report.to_json())}}.dump());
  } else {
    print_result(report.to_text());
  }
  return arguments.strict && !report.clean() ? kFailed : kDone;
}

void add_check(CLI::App& parent, Invocation& invocation) {
  CLI::App* command = add_command(
      parent, "check",
      "What is wrong with the data: duplicates, conflicting labels, leaks, empty or overlong rows",
      {"fovea data check reviews.csv --target label",
       "fovea data check train.csv test.csv --target label --strict"});
  auto arguments = std::make_shared<CheckArguments>();
  command
      ->add_option(
          "FILE", arguments->files,
          "CSV, TSV, JSON Lines or text, - for standard input; several are parts, the first trained on")
      ->required();
  command->add_option("--target", arguments->options.target, "Column to be predicted (default: none)")
      ->option_text("COLUMN");
  command
      ->add_option("--input", arguments->options.inputs,
                   "Columns that the model sees, one or more (default: all but the target)")
      ->option_text("COLUMN...");
  command
      ->add_option("--examples", arguments->options.examples, "Examples shown of each finding (default: 5)")
      ->option_text("N")
      ->check(CLI::Range(int64_t{0}, INT64_MAX));
  command->add_flag("--strict", arguments->strict, "Exit with 1 when anything was found");
  arguments->read.add_to(*command);
  command->callback([arguments, &invocation] {
    invocation.command = [arguments](const CommonOptions& common, Console& console) {
      return check_files(*arguments, common, console);
    };
  });
}

struct SplitArguments {
  std::string file;
  std::string group;
  std::string stratify;
  std::vector<double> fractions{0.8, 0.1, 0.1};
  std::string out;
  bool overwrite = false;
  ReadArguments read;
};

std::vector<std::string> part_names(size_t parts) {
  if (parts == 2) return {"train", "test"};
  if (parts == 3) return {"train", "valid", "test"};
  std::vector<std::string> names;
  for (size_t i = 1; i <= parts; ++i) names.push_back(fmt::format("part{}", i));
  return names;
}

data::Parts cut(const SplitArguments& arguments, const data::Table& table, uint64_t seed) {
  if (!arguments.group.empty())
    return data::split_grouped(table.column(arguments.group), arguments.fractions, seed);
  if (!arguments.stratify.empty()) {
    return data::split_stratified(table.column(arguments.stratify), arguments.fractions, seed);
  }
  return data::split_random(table.rows(), arguments.fractions, seed);
}

int split_file(const SplitArguments& arguments, const CommonOptions& common, Console& console) {
  check_argument(arguments.file != "-" || !arguments.out.empty(), "data split",
                 "expected --out to name a folder for the parts of standard input, got none");
  data::ReadOptions options = arguments.read.options();
  options.wanted = {arguments.group, arguments.stratify};
  const data::ReadResult read = read_input(arguments.file, options);
  if (!common.json) console.log(LogLevel::kInfo, read.report.to_text());
  const data::Parts parts = cut(arguments, read.table, static_cast<uint64_t>(common.seed));
  const fs::path folder =
      arguments.out.empty() ? fs::path(arguments.file).replace_extension() : fs::path(arguments.out);

  const std::vector<std::string> names = part_names(parts.size());
  std::vector<data::NamedTable> tables;
  ordered_json result = ordered_json::array();
  TextTable text({"part", "rows", "%", "file"});
  for (size_t i = 0; i < parts.size(); ++i) {
    const fs::path file = folder / (names[i] + ".csv");
    tables.push_back({names[i], read.table.select_rows(parts[i])});
    const auto rows = static_cast<int64_t>(parts[i].size());
    text.add({names[i], with_commas(rows),
              percent(static_cast<double>(rows) / static_cast<double>(read.table.rows())), file.string()});
    result.push_back({{"part", names[i]}, {"rows", rows}, {"file", file.string()}});
  }
  data::write_parts(tables, folder, arguments.overwrite ? data::Earlier::kReplace : data::Earlier::kRefuse);
  print_result(common.json ? ordered_json{{"parts", result}}.dump()
                           : text.to_text({Align::kLeft, Align::kRight, Align::kRight, Align::kLeft}));
  return kDone;
}

void add_split(CLI::App& parent, Invocation& invocation) {
  CLI::App* command =
      add_command(parent, "split", "Cut the rows, drawn by --seed, into train.csv, valid.csv and test.csv",
                  {"fovea data split reviews.csv --stratify label",
                   "fovea data split notes.csv --group patient --fractions 0.7 0.3"});
  auto arguments = std::make_shared<SplitArguments>();
  command->add_option("FILE", arguments->file, "CSV, TSV, JSON Lines or text; - for standard input")
      ->required();
  CLI::Option* group =
      command
          ->add_option("--group", arguments->group,
                       "Keep rows that agree in this column in one part (default: each row by itself)")
          ->option_text("COLUMN");
  command
      ->add_option("--stratify", arguments->stratify,
                   "Cut each value of this column in the same proportion (default: draw from all rows)")
      ->option_text("COLUMN")
      ->excludes(group);
  command
      ->add_option(
          "--fractions", arguments->fractions,
          "Shares of the parts, 1 to 16 numbers that sum to 1; two are train and test (default: 0.8 0.1 "
          "0.1: train, valid, test)")
      ->option_text("X...")
      ->expected(1, 16);
  command->add_option("--out", arguments->out, "Folder to write to (default: FILE without its ending)")
      ->option_text("FOLDER");
  command->add_flag(
      "--overwrite", arguments->overwrite,
      "Replace the parts of an earlier split, all of them at once when the new ones are written");
  arguments->read.add_to(*command);
  command->callback([arguments, &invocation] {
    invocation.command = [arguments](const CommonOptions& common, Console& console) {
      return split_file(*arguments, common, console);
    };
  });
}

struct StatsArguments {
  std::string file;
  ReadArguments read;
};

void add_stats(CLI::App& parent, Invocation& invocation) {
  CLI::App* command =
      add_command(parent, "stats", "What the table looks like: types, lengths, frequent values",
                  {"fovea data stats reviews.csv", "fovea data stats reviews.csv --json"});
  auto arguments = std::make_shared<StatsArguments>();
  command->add_option("FILE", arguments->file, "CSV, TSV, JSON Lines or text; - for standard input")
      ->required();
  arguments->read.add_to(*command);
  command->callback([arguments, &invocation] {
    invocation.command = [arguments](const CommonOptions& common, Console& console) {
      const data::ReadResult read = read_input(arguments->file, arguments->read.options());
      for (const std::string& note : read.report.notes) console.log(LogLevel::kInfo, note);
      const data::TableStats stats = data::stats(read);
      print_result(common.json ? stats.to_json() : stats.to_text());
      return kDone;
    };
  });
}

}  // namespace

void add_data(CLI::App& app, Invocation& invocation) {
  CLI::App* command =
      add_command(app, "data", "Check, split and describe tables",
                  {"fovea data check reviews.csv --target label", "fovea data stats reviews.csv"});
  command->require_subcommand(0, 1);  // none is reported by run(), in the tool's words
  add_check(*command, invocation);
  add_split(*command, invocation);
  add_stats(*command, invocation);
}

}  // namespace fovea::cli
