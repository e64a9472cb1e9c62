#include "cli/model_folder.hpp"

#include <unistd.h>

#include <algorithm>

#include "base/check.hpp"
#include "fovea/data/records.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/manifest.hpp"

namespace fovea::cli {
namespace {

constexpr int64_t kMaxConfigBytes = 1 << 20;
constexpr size_t kBatch = 256;

void for_each_record(const std::string& asked, const std::string& usual, const data::ReadOptions& options,
                     const std::function<void(std::span<const std::string_view>)>& each) {
  formats::InputStream input(STDIN_FILENO, "standard input");
  data::RecordReader reader([&](std::span<char> out) { return input.read(out); }, "standard input", options);
  data::Record record;
  while (reader.next(record)) {
    const std::string_view text = *record.find(reader.text_column(record, asked, usual));
    each({&text, 1});
  }
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

std::span<const std::string_view> text_column(const data::Table& table, const std::string& asked,
                                              const std::string& usual) {
  if (!asked.empty() || table.find_column(usual) >= 0) return table.column(asked.empty() ? usual : asked);
  const int64_t index = table.index_column();
  if (table.columns() == 1) return table.column(0);
  if (table.columns() == 2 && index >= 0) return table.column(1 - index);
  return table.column(usual);
}

void for_each_text(const std::string& file, const std::string& asked, const std::string& usual,
                   data::ReadOptions options,
                   const std::function<void(std::span<const std::string_view>)>& each) {
  options.purpose = data::Purpose::kTexts;
  options.wanted = {asked.empty() ? usual : asked};
  if (file == "-") {
    for_each_record(asked, usual, options, each);
    return;
  }
  const data::Table table = data::read_table(file, options).table;
  const std::span<const std::string_view> texts = text_column(table, asked, usual);
  for (size_t begin = 0; begin < texts.size(); begin += kBatch) {
    each(texts.subspan(begin, std::min(kBatch, texts.size() - begin)));
  }
}

std::string dump_line(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace fovea::cli
