#include "tasks/text_rows.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "base/check.hpp"
#include "fovea/data/split.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/printable.hpp"
#include "tasks/read_keys.hpp"

namespace fovea::tasks {
namespace {

void say(LogSink* log, LogLevel level, const std::string& message) {
  if (log != nullptr) log->log(level, message);
}

// The split of each row of one table.
std::vector<Split> split_of_rows(const data::Table& table, const TextDataSettings& s,
                                 std::span<const std::string_view> targets) {
  std::vector<Split> result(static_cast<size_t>(table.rows()), Split::kTrain);
  std::vector<double> shares = {1 - s.valid_share - s.test_share};
  std::vector<Split> names = {Split::kTrain};
  for (const auto& [share, name] :
       {std::pair{s.valid_share, Split::kValid}, std::pair{s.test_share, Split::kTest}}) {
    if (share <= 0) continue;
    shares.push_back(share);
    names.push_back(name);
  }
  const auto parts = s.split == "group" ? data::split_grouped(table.column(s.group), shares, s.split_seed)
                     : s.split == "stratified" ? data::split_stratified(targets, shares, s.split_seed)
                                               : data::split_random(table.rows(), shares, s.split_seed);
  for (size_t part = 0; part < parts.size(); ++part) {
    for (const int64_t row : parts[part]) result[static_cast<size_t>(row)] = names[part];
  }
  return result;
}

std::string choose_target(const data::Table& table, const std::string& wanted) {
  if (!wanted.empty()) {
    table.require_column(wanted);
    return wanted;
  }
  for (const char* name : {"label", "target", "class", "category"}) {
    if (table.find_column(name) >= 0) return name;
  }
  throw_data(formats::printable(table.source()),
             "expected data.target (--target) to name the column to predict, found none; the columns are {}; "
             "whether the first row names them can be said with data.header = \"yes\" or \"no\"",
             formats::printable_list(table.names()));
}

std::string choose_text(const data::Table& table, const std::string& wanted, const std::string& target) {
  if (!wanted.empty()) {
    table.require_column(wanted);
    return wanted;
  }
  if (table.find_column("text") >= 0 && target != "text") return "text";
  // The only column left, a count of the rows aside.
  std::vector<std::string> others;
  for (int64_t c = 0; c < table.columns(); ++c) {
    const std::string& name = table.names()[static_cast<size_t>(c)];
    if (c != table.index_column() && name != target) others.push_back(name);
  }
  if (others.size() == 1) return others[0];
  throw_data(formats::printable(table.source()),
             "expected data.text to name the column to read, found none; the columns are {}",
             formats::printable_list(table.names()));
}

bool is_missing(std::string_view target) {
  return target.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

// The table without the rows that lack a target, or a DataError for the first of them.
data::Table with_targets(data::Table table, const std::string& target, bool skip, LogSink* log) {
  std::vector<int64_t> labelled;
  int64_t first = -1;
  const auto targets = table.column(target);
  for (int64_t row = 0; row < table.rows(); ++row) {
    if (!is_missing(targets[static_cast<size_t>(row)])) {
      labelled.push_back(row);
    } else if (first < 0) {
      first = row;
    }
  }
  if (first < 0) return table;
  const int64_t missing = table.rows() - std::ssize(labelled);
  check_data(
      skip, table.where(first),
      "expected a value in column {}, found none, in {} rows; fill it, remove them, or leave them out with "
      "data.missing_target = \"skip\" (fovea evaluate: --missing-target skip)",
      formats::printable(target), missing);
  check_data(!labelled.empty(), formats::printable(table.source()),
             "expected values in column {}, found none in {} rows; choose another data.target",
             formats::printable(target), missing);
  say(log, LogLevel::kInfo,
      fmt::format("{}: {} rows without a value in column {} are left out, the first on line {}",
                  formats::printable(table.source()), missing, formats::printable(target),
                  table.line(first)));
  return table.select_rows(labelled);
}

}  // namespace

std::filesystem::path find_file(const std::string& path, const std::string& base) {
  std::filesystem::path given(path);
  // What cannot be looked at is not there, here; the reader says why.
  std::error_code ignored;
  if (given.is_absolute() || base.empty() || std::filesystem::exists(given, ignored)) return given;
  auto beside = std::filesystem::path(base) / given;
  return std::filesystem::exists(beside, ignored) ? beside : given;
}

TextDataSettings read_text_data_settings(const formats::Recipe& recipe) {
  TextDataSettings s;
  s.base = recipe.folder().string();
  s.file = recipe.text("data.file", "");
  s.train = recipe.text("data.train", "");
  s.valid = recipe.text("data.valid", "");
  s.test = recipe.text("data.test", "");
  if (s.file.empty() == s.train.empty()) {
    recipe.fail(s.file.empty() ? "data.file" : "data.train",
                "expected data.file (one file that is split) or data.train (and data.valid, data.test)");
  }
  s.text = recipe.text("data.text", "");
  s.target = recipe.text("data.target", "");
  s.split = recipe.choice("data.split", "random", {"random", "stratified", "group"});
  s.group = s.split == "group" ? recipe.required_text("data.group") : recipe.text("data.group", "");
  s.valid_share = recipe.number("data.valid_share", 0.1, 0.0, 0.9);
  // Separate files that lack a test file have no test rows; validation rows are cut from the training ones.
  s.test_share = recipe.number("data.test_share", s.file.empty() ? 0.0 : 0.1, 0.0, 0.9);
  if (s.valid_share + s.test_share >= 1)
    recipe.fail("data.valid_share", "expected training rows to be left, found none");
  s.split_seed = static_cast<uint64_t>(recipe.integer("data.split_seed", 1, 0, int64_t{1} << 40));
  read_option_keys(recipe, {"format", "delimiter", "header", "quoting", "encoding"}, s.read);
  for (const std::string* column : {&s.target, &s.text, &s.group}) {
    if (!column->empty()) s.read.wanted.push_back(*column);
  }
  s.skip_missing_target = recipe.choice("data.missing_target", "error", {"error", "skip"}) == "skip";
  s.read.names = recipe.texts("data.names", {});
  s.read.max_cell_bytes = int64_t{64} << 20;
  return s;
}

TextRows read_text_rows(const TextDataSettings& s, LogSink* log) {
  TextRows result;
  const auto load = [&](const std::string& file) -> const data::Table& {
    auto read = data::read_table(find_file(file, s.base), s.read);
    say(log, LogLevel::kInfo, read.report.to_text());
    result.tables.push_back(std::move(read.table));
    return result.tables.back();
  };
  const auto add = [&](size_t table_index, std::span<const Split> splits, Split all) {
    const auto& table = result.tables[table_index];
    const auto texts = table.column(result.text_column);
    const auto targets = table.column(result.target_column);
    for (size_t i = 0; i < texts.size(); ++i) {
      const Split split = splits.empty() ? all : splits[i];
      result.splits[static_cast<size_t>(split)].push_back(
          {texts[i], targets[i], -1, static_cast<int32_t>(table_index), static_cast<int64_t>(i)});
    }
  };
  load(s.file.empty() ? s.train : s.file);
  result.target_column = choose_target(result.tables[0], s.target);
  result.text_column = choose_text(result.tables[0], s.text, result.target_column);
  const auto keep_labelled = [&](data::Table& table) {
    table = with_targets(std::move(table), result.target_column, s.skip_missing_target, log);
  };
  keep_labelled(result.tables[0]);
  TextDataSettings cut = s;
  if (!s.valid.empty()) cut.valid_share = 0;
  if (!s.test.empty()) cut.test_share = 0;
  add(0, split_of_rows(result.tables[0], cut, result.tables[0].column(result.target_column)), Split::kTrain);
  for (const auto& [file, split] : {std::pair{&s.valid, Split::kValid}, std::pair{&s.test, Split::kTest}}) {
    if (file->empty()) continue;
    load(*file);
    keep_labelled(result.tables.back());
    add(result.tables.size() - 1, {}, split);
  }
  // Classes of the training rows; what else occurs in rows cut from the same table joins them.
  auto& train = result.splits[0];
  std::set<std::string_view> known;
  for (const auto& row : train) known.insert(row.target);
  for (size_t split = 1; split < 3; ++split) {
    auto& rows = result.splits[split];
    std::erase_if(rows, [&](const TextRows::Row& row) {
      if (known.contains(row.target) || row.table != 0) return false;
      say(log, LogLevel::kWarning,
          fmt::format("{}: class \"{}\" has no training row; the row trains instead of being held out",
                      result.tables[0].where(row.row), formats::printable(row.target)));
      train.push_back(row);
      return true;
    });
  }
  for (const auto& row : train) known.insert(row.target);
  check_data(!train.empty(), formats::printable(result.tables[0].source()),
             "expected training rows, found none; lower the shares held out");
  std::map<std::string_view, std::pair<int32_t, int64_t>> classes;
  for (const auto name : known) {
    classes[name] = {static_cast<int32_t>(result.classes.size()), 0};
    result.classes.emplace_back(name);
  }
  for (auto& rows : result.splits) {
    for (auto& row : rows) {
      const auto found = classes.find(row.target);
      check_data(found != classes.end(), result.tables[static_cast<size_t>(row.table)].where(row.row),
                 "expected one of the {} classes of the training rows, found \"{}\"; add training rows of it "
                 "or remove the row",
                 classes.size(), formats::printable(row.target));
      row.label = found->second.first;
      if (&rows == &train) ++found->second.second;
    }
  }
  check_data(classes.size() >= 2, formats::printable(result.tables[0].source()),
             "expected at least two classes in column {}, found one (\"{}\"); choose another data.target",
             formats::printable(result.target_column), formats::printable(result.classes[0]));
  check_data(classes.size() <= train.size() / 2 || classes.size() <= 1000,
             formats::printable(result.tables[0].source()),
             "expected a column of few values, found {} different ones in {} rows of column {}; choose "
             "another data.target",
             classes.size(), train.size(), formats::printable(result.target_column));
  for (const auto& [name, entry] : classes) {
    if (entry.second == 1) {
      say(log, LogLevel::kWarning,
          fmt::format("class \"{}\" has one training row; join it to another class or add rows",
                      formats::printable(name)));
    }
  }
  result.description = fmt::format(
      "Text in column `{}`, class in column `{}`, {} classes; {} training, {} validation, {} test rows "
      "({}).\n",
      formats::printable(result.text_column), formats::printable(result.target_column), result.classes.size(),
      train.size(), result.splits[1].size(), result.splits[2].size(),
      s.file.empty()       ? "separate files"
      : s.split == "group" ? fmt::format("grouped by `{}`", formats::printable(s.group))
                           : s.split + " split");
  say(log, LogLevel::kInfo, result.description.substr(0, result.description.size() - 1));
  return result;
}

DataDigest digest_of(const TextRows& rows) {
  DataDigest digest{.unit = "rows", .text = rows.text_column, .target = rows.target_column};
  for (const auto& table : rows.tables) {
    const auto texts = table.column(rows.text_column), targets = table.column(rows.target_column);
    auto part = digest_rows(table.source(), table.rows(), [&](int64_t row, uint32_t before) {
      const auto i = static_cast<size_t>(row);
      return digest_cell(targets[i], digest_cell(texts[i], before));
    });
    for (int64_t row = 0; row < table.rows(); row += part.block) part.lines.push_back(table.line(row));
    digest.parts.push_back(std::move(part));
  }
  for (size_t split = 0; split < rows.splits.size(); ++split) {
    auto& own = digest.splits[split];
    own.rows = static_cast<int64_t>(rows.splits[split].size());
    for (const auto& row : rows.splits[split]) {
      const std::array<int64_t, 2> number = {row.table, row.row};
      own.checksum = formats::crc32c(std::as_bytes(std::span(number)), own.checksum);
    }
  }
  return digest;
}

void check_same_data(const std::filesystem::path& digest_file, const TextRows& rows,
                     std::string_view advice) {
  const std::string difference = DataDigest::load(digest_file).difference(digest_of(rows));
  if (!difference.empty()) throw DataError(fmt::format("{}; {}", difference, advice));
}

}  // namespace fovea::tasks
