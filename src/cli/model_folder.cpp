#include "cli/model_folder.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>

#include "base/check.hpp"
#include "cli/text.hpp"
#include "formats/json.hpp"
#include "fovea/data/records.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/manifest.hpp"
#include "fovea/formats/paths.hpp"
#include "fovea/formats/printable.hpp"

namespace fovea::cli {
namespace {

constexpr int64_t kMaxConfigBytes = 1 << 20;
constexpr size_t kMostBytes = size_t{1} << 22;  // of a batch: texts of a megabyte need not wait for many

// The column of the texts in a table.
std::span<const std::string_view> text_column(const data::Table& table, const std::string& asked,
                                              const std::string& usual) {
  if (!asked.empty() || table.find_column(usual) >= 0) return table.column(asked.empty() ? usual : asked);
  const int64_t index = table.index_column();
  if (table.columns() == 1) return table.column(0);
  if (table.columns() == 2 && index >= 0) return table.column(1 - index);
  return table.column(usual);
}

bool has_come(int descriptor) {
  pollfd wanted{descriptor, POLLIN, 0};
  return ::poll(&wanted, 1, 0) != 0;
}

// Texts that have come and wait for an answer.
class Waiting {
 public:
  Waiting(size_t most, const std::function<bool(const TextBatch&)>& each) : most_(most), each_(each) {}
  bool going_on() const { return going_on_; }
  void add(std::string text, std::string truth) {
    bytes_ += text.size();
    texts_.push_back(std::move(text));
    truths_.push_back(std::move(truth));
    if (texts_.size() == most_ || bytes_ >= kMostBytes) answer();
  }
  void answer() {
    if (texts_.empty() || !going_on_) return;
    const TextBatch batch{{texts_.begin(), texts_.end()}, {truths_.begin(), truths_.end()}};
    going_on_ = false;  // where it throws, nothing is answered twice
    going_on_ = each_(batch);
    texts_.clear();
    truths_.clear();
    bytes_ = 0;
  }

 private:
  size_t most_;
  const std::function<bool(const TextBatch&)>& each_;
  std::vector<std::string> texts_, truths_;
  size_t bytes_ = 0;
  bool going_on_ = true;
};

// What a person would not expect of plain lines of UTF-8. They were read one at a time, so that it is known
// at the end only.
void say_report(const data::ReadReport& report, LogSink& log) {
  const bool plain = report.format == data::FileFormat::kLines &&
                     report.encoding == data::TextEncoding::kUtf8 && report.replaced == 0;
  if (!plain && report.rows > 0) log.log(LogLevel::kInfo, report.to_text());
}

void for_each_record(const TextInput& input, const data::ReadOptions& options, Waiting& waiting,
                     LogSink& log) {
  formats::InputStream stream(STDIN_FILENO, "standard input");
  const data::ByteSource source = [&](std::span<char> out) {
    if (!has_come(STDIN_FILENO)) waiting.answer();
    return waiting.going_on() ? stream.read(out) : size_t{0};
  };
  data::RecordReader reader(source, "standard input", options);
  data::Record record;
  try {
    while (waiting.going_on() && reader.next(record)) {
      const std::string* truth = input.target.empty() ? nullptr : record.find(input.target);
      std::string true_class = truth == nullptr ? "" : *truth;
      const std::string column = reader.text_column(record, input.column, input.usual);
      waiting.add(*record.find(column), std::move(true_class));
    }
  } catch (const DataError&) {
    waiting.answer();  // what came before the mistake
    say_report(reader.report(), log);
    throw;
  }
  waiting.answer();
  say_report(reader.report(), log);
}

}  // namespace

nlohmann::ordered_json read_config(const std::filesystem::path& folder) {
  check_data(formats::is_folder(folder), folder.string(),
             "expected a model's folder, found {}; give the folder that fovea train wrote",
             formats::exists(folder) ? "a file" : "nothing");
  const std::filesystem::path files = formats::model_files(folder), path = files / "config.json";
  formats::verify_file(files, "config.json");
  return formats::parse_json(formats::read_file(path, kMaxConfigBytes), path.string());
}

std::string require_task(const std::filesystem::path& folder, std::string_view command,
                         std::initializer_list<std::string_view> expected, LogSink& log) {
  const nlohmann::ordered_json config = read_config(folder);
  if (!formats::exists(formats::model_files(folder) / formats::kManifestName)) {
    log.log(LogLevel::kWarning,
            fmt::format(
                "{}: unverified, an earlier version wrote it without {}: damage, and whether its data have "
                "changed, cannot be seen",
                folder.string(), formats::kManifestName));
  }
  const std::string path = (formats::model_files(folder) / "config.json").string();
  auto task = formats::json_member<std::string>(config, "task", path);
  if (std::find(expected.begin(), expected.end(), task) == expected.end()) {
    throw_data(path, "expected a model for {} with fovea {}, found one for \"{}\"",
               fmt::join(expected, " or "), command, formats::printable(task, 60));
  }
  return task;
}

void say_cut(int64_t cut, int64_t most_tokens, LogSink& log) {
  if (cut == 0) return;
  log.log(LogLevel::kWarning,
          fmt::format("{} {} longer than the {} tokens that the model reads: the rest was left out",
                      with_commas(cut), cut == 1 ? "text is" : "texts are", with_commas(most_tokens)));
}

void for_each_text(const TextInput& input, size_t most, LogSink& log,
                   const std::function<bool(const TextBatch&)>& each) {
  data::ReadOptions options = input.options;
  options.purpose = data::Purpose::kTexts;
  options.wanted = {input.column.empty() ? input.usual : input.column};
  if (input.file == "-") {
    Waiting waiting(most, each);
    for_each_record(input, options, waiting, log);
    return;
  }
  const data::ReadResult read = data::read_table(input.file, options);
  log.log(LogLevel::kInfo, read.report.to_text());
  const data::Table& table = read.table;
  const std::span<const std::string_view> texts = text_column(table, input.column, input.usual);
  const int64_t target = input.target.empty() ? -1 : table.find_column(input.target);
  TextBatch batch;
  for (size_t i = 0; i < texts.size(); ++i) {
    batch.texts.push_back(texts[i]);
    batch.truths.push_back(target < 0 ? "" : table.cell(static_cast<int64_t>(i), target));
    if (batch.texts.size() < most && i + 1 < texts.size()) continue;
    if (!each(batch)) return;
    batch = {};
  }
}

std::string dump_line(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string dump_text(const nlohmann::ordered_json& json) {
  return formats::printable_lines(json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

}  // namespace fovea::cli
