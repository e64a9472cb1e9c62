// What the commands need to know of a model's folder before they load it, and the texts they are given.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/base/progress.hpp"
#include "fovea/data/read.hpp"

namespace fovea::cli {

// config.json, whatever the task. DataError when the folder holds no model, or config.json is damaged.
nlohmann::ordered_json read_config(const std::filesystem::path& folder);
// Its task; DataError unless it is one of `expected`: "fovea generate wants …". Says on the log where a
// folder has no manifest, so that damage could not be seen.
std::string require_task(const std::filesystem::path& folder, std::string_view command,
                         std::initializer_list<std::string_view> expected, LogSink& log);

struct TextInput {
  std::string file;    // "-": standard input
  std::string column;  // of the texts, which must be there; empty: `usual`, or the only one there is
  std::string usual;
  std::string target;  // of the true classes, which need not be there; empty: none are wanted
  data::ReadOptions options;
};

struct TextBatch {
  std::vector<std::string_view> texts;
  std::vector<std::string_view> truths;  // as many; empty where there is none
};

// Calls `each` with the texts in order, at most `most` a time, until it says false. What does not show itself
// to be a table is plain text, a text a line, blank ones included. Standard input is not waited for while
// texts that have come are without an answer: somebody may want it before writing on. DataError as
// data::read_table, or, of standard input, as data::RecordReader, after the texts before the mistake. `log`
// is told how the texts were read: of a file before the first of them, of standard input after the last.
void for_each_text(const TextInput& input, size_t most, LogSink& log,
                   const std::function<bool(const TextBatch&)>& each);

// Says, once, that so many texts were longer than the model reads; nothing for none.
void say_cut(int64_t cut, int64_t most_tokens, LogSink& log);

// One line of JSON; bytes that are not UTF-8 become U+FFFD.
std::string dump_line(const nlohmann::ordered_json& json);
// The same over several lines, for people.
std::string dump_text(const nlohmann::ordered_json& json);

}  // namespace fovea::cli
