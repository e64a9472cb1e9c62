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

// Calls `each` with the texts of a file, or of standard input line by line ("-"), in batches; in a table the
// column is `column`, or the only one there is. Blank lines of standard input are skipped. DataError as
// data::read_table.
void for_each_text(const std::string& file, const std::string& column, const data::ReadOptions& options,
                   const std::function<void(std::span<const std::string_view>)>& each);

// Column `name`, or the only one; DataError that says how to choose.
std::span<const std::string_view> text_column(const data::Table& table, const std::string& name);

// One line of JSON; bytes that are not UTF-8 become U+FFFD.
std::string dump_line(const nlohmann::ordered_json& json);

}  // namespace fovea::cli
