#include "cli/model_folder.hpp"

#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "base/check.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/manifest.hpp"

namespace fovea::cli {
namespace {

constexpr int64_t kMaxConfigBytes = 1 << 20;
constexpr size_t kBatch = 256;

void for_each_line(std::istream& stream, const std::function<void(std::span<const std::string_view>)>& each) {
  const size_t batch =
      isatty(STDIN_FILENO) == 1 ? 1 : kBatch;  // somebody who types wants an answer to each line
  std::vector<std::string> lines;
  const auto flush = [&] {
    const std::vector<std::string_view> texts(lines.begin(), lines.end());
    if (!texts.empty()) each(texts);
    lines.clear();
  };
  for (std::string line; std::getline(stream, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    lines.push_back(std::move(line));
    if (lines.size() >= batch) flush();
  }
  flush();
}

}  // namespace

nlohmann::ordered_json read_config(const std::filesystem::path& folder) {
  check_data(std::filesystem::is_directory(folder), folder.string(),
             "expected a model's folder, found {}; give the folder that fovea train wrote",
             std::filesystem::exists(folder) ? "a file" : "nothing");
  const std::filesystem::path files = formats::model_files(folder), path = files / "config.json";
  formats::verify_file(files, "config.json");
  const std::string text = formats::read_file(path, kMaxConfigBytes);
  try {
    return nlohmann::ordered_json::parse(text);
  } catch (const nlohmann::json::exception&) {
    throw_data(path.string(), "expected JSON, found something else; copy the model's folder again");
  }
}

std::string require_task(const std::filesystem::path& folder, std::string_view command,
                         std::initializer_list<std::string_view> expected, LogSink& log) {
  const nlohmann::ordered_json config = read_config(folder);
  if (!std::filesystem::exists(formats::model_files(folder) / formats::kManifestName)) {
    log.log(LogLevel::kWarning,
            fmt::format(
                "{}: unverified, an earlier version wrote it without {}: damage, and whether its data have "
                "changed, cannot be seen",
                folder.string(), formats::kManifestName));
  }
  std::string task = config.is_object() ? config.value("task", std::string()) : std::string();
  if (std::find(expected.begin(), expected.end(), task) == expected.end()) {
    throw_data((folder / "config.json").string(), "expected a model for {} with fovea {}, found task '{}'",
               fmt::join(expected, " or "), command, task);
  }
  return task;
}

std::span<const std::string_view> text_column(const data::Table& table, const std::string& name) {
  if (table.find_column(name) < 0 && table.columns() == 1) return table.column(0);
  return table.column(name);
}

void for_each_text(const std::string& file, const std::string& column, const data::ReadOptions& options,
                   const std::function<void(std::span<const std::string_view>)>& each) {
  if (file == "-") {
    for_each_line(std::cin, each);
    return;
  }
  const data::Table table = data::read_table(file, options).table;
  const std::span<const std::string_view> texts = text_column(table, column);
  for (size_t begin = 0; begin < texts.size(); begin += kBatch) {
    each(texts.subspan(begin, std::min(kBatch, texts.size() - begin)));
  }
}

std::string dump_line(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace fovea::cli
