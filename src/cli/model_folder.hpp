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

// Calls `each` with the texts of a file, in batches, or of standard input ("-") one by one as they come. In a
// table the column is `asked`, which must be there, or, when that is empty, `usual`, or the only one there
// is; what does not show itself to be a table is plain text, a text a line, blank ones included. DataError as
// data::read_table.
void for_each_text(const std::string& file, const std::string& asked, const std::string& usual,
                   data::ReadOptions options,
                   const std::function<void(std::span<const std::string_view>)>& each);

// The column of the texts, as above; DataError that says how to choose.
std::span<const std::string_view> text_column(const data::Table& table, const std::string& asked,
                                              const std::string& usual);

// One line of JSON; bytes that are not UTF-8 become U+FFFD.
std::string dump_line(const nlohmann::ordered_json& json);

}  // namespace fovea::cli
