#include "fovea/tasks/data_digest.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "formats/json.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/tasks/task.hpp"

namespace fovea::tasks {
namespace {

using formats::Json;

constexpr int64_t kVersion = 1;
constexpr int64_t kMaxBytes = int64_t{1} << 22;

// The first block whose rows differ. Blocks of different sizes cannot be compared: then there is none (-1),
// but for a file of another number of rows and of blocks of one row.
int64_t first_other_block(const DataPart& expected, const DataPart& found) {
  if (expected.block != found.block) return -1;
  const size_t shared = std::min(expected.checksums.size(), found.checksums.size());
  for (size_t i = 0; i < shared; ++i) {
    if (expected.checksums[i] != found.checksums[i]) return static_cast<int64_t>(i);
  }
  return expected.checksums.size() == found.checksums.size() ? -1 : static_cast<int64_t>(shared);
}

std::string place_of(const DataPart& found, int64_t block, const std::string& unit) {
  const int64_t first = block * found.block;
  if (first >= found.rows) return fmt::format(", which ends after {} {}", found.rows, unit);
  const auto at = static_cast<size_t>(block);
  const std::string line =
      at < found.lines.size() ? fmt::format(" (line {})", found.lines[at]) : std::string();
  if (found.block == 1) return fmt::format(", the first other one is number {}{}", first + 1, line);
  return fmt::format(", the first other one is among numbers {} to {}{}", first + 1,
                     std::min(first + found.block, found.rows), line);
}

std::string part_difference(const DataPart& expected, const DataPart& found, const std::string& unit) {
  const int64_t block = first_other_block(expected, found);
  if (expected.rows == found.rows && block < 0 && expected.checksums == found.checksums) return {};
  const std::string place = block < 0 ? std::string() : place_of(found, block, unit);
  if (expected.rows != found.rows) {
    return fmt::format("{}: expected the {} {} that the model was made with, found {}{}", found.source,
                       expected.rows, unit, found.rows, place);
  }
  return fmt::format("{}: expected the {} {} that the model was made with, found as many but not the same{}",
                     found.source, expected.rows, unit, place);
}

Json to_json(const DataPart& part) {
  return {{"source", part.source}, {"rows", part.rows}, {"block", part.block}, {"crc32c", part.checksums}};
}

DataPart part_from(const Json& json, const std::string& where) {
  DataPart part;
  part.source = formats::json_member<std::string>(json, "source", where);
  part.rows = formats::json_member<int64_t>(json, "rows", where);
  part.block = formats::json_member<int64_t>(json, "block", where);
  part.checksums = formats::json_member<std::vector<uint32_t>>(json, "crc32c", where);
  return part;
}

}  // namespace

uint32_t digest_cell(std::string_view cell, uint32_t before) {
  const auto size = static_cast<uint64_t>(cell.size());
  return formats::crc32c(cell, formats::crc32c(std::as_bytes(std::span(&size, 1)), before));
}

DataPart digest_text(std::string source, std::string_view text) {
  constexpr int64_t kMostBlocks = 1024;
  DataPart part{.source = std::move(source), .rows = static_cast<int64_t>(text.size())};
  part.block = part.rows / kMostBlocks + 1;
  for (size_t begin = 0; begin < text.size(); begin += static_cast<size_t>(part.block))
    part.checksums.push_back(formats::crc32c(text.substr(begin, static_cast<size_t>(part.block))));
  return part;
}

std::string DataDigest::difference(const DataDigest& found) const {
  const std::string source = found.parts.empty() ? "data" : found.parts[0].source;
  if (text != found.text)
    return fmt::format("{}: expected the texts in column {}, found them in {}", source, text, found.text);
  if (target != found.target)
    return fmt::format("{}: expected the classes in column {}, found them in {}", source, target,
                       found.target);
  if (parts.size() != found.parts.size()) {
    return fmt::format("{}: expected data in {} files, found {}", source, parts.size(), found.parts.size());
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    std::string difference = part_difference(parts[i], found.parts[i], unit);
    if (!difference.empty()) return difference;
  }
  for (const Split split : {Split::kTrain, Split::kValid, Split::kTest}) {
    const auto& before = splits[static_cast<size_t>(split)];
    const auto& now = found.splits[static_cast<size_t>(split)];
    if (before == now) continue;
    return fmt::format("{}: expected the {} {} that the {} split had, found {}{}", source, before.rows, unit,
                       to_string(split), now.rows, before.rows == now.rows ? " others" : "");
  }
  return {};
}

void DataDigest::save(const std::filesystem::path& file) const {
  Json json = {{"fovea_data", kVersion}, {"unit", unit}, {"text", text}, {"target", target}};
  json["parts"] = Json::array();
  for (const DataPart& part : parts) json["parts"].push_back(to_json(part));
  for (const Split split : {Split::kTrain, Split::kValid, Split::kTest}) {
    const auto& s = splits[static_cast<size_t>(split)];
    json["splits"][to_string(split)] = {{"rows", s.rows}, {"crc32c", s.checksum}};
  }
  formats::write_atomically(file, json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

DataDigest DataDigest::load(const std::filesystem::path& file) {
  const std::string where = file.string();
  const Json json = formats::parse_json(formats::read_file(file, kMaxBytes), where);
  check_data(json.is_object() && json.contains("parts") && json["parts"].is_array(), where,
             "expected a digest of data, found something else; copy the model's folder again");
  const auto version = formats::json_member<int64_t>(json, "fovea_data", where);
  check_data(version == kVersion, where,
             "expected a digest of version {}, found {}; it is of a later version", kVersion, version);
  DataDigest digest;
  digest.unit = formats::json_member<std::string>(json, "unit", where);
  digest.text = formats::json_member<std::string>(json, "text", where);
  digest.target = formats::json_member<std::string>(json, "target", where);
  for (const Json& part : json["parts"]) digest.parts.push_back(part_from(part, where));
  const auto splits = formats::json_member<Json>(json, "splits", where);
  for (const Split split : {Split::kTrain, Split::kValid, Split::kTest}) {
    const auto one = formats::json_member<Json>(splits, to_string(split), where);
    digest.splits[static_cast<size_t>(split)] = {formats::json_member<int64_t>(one, "rows", where),
                                                 formats::json_member<uint32_t>(one, "crc32c", where)};
  }
  return digest;
}

}  // namespace fovea::tasks
