#include "fovea/formats/manifest.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/check.hpp"
#include "formats/json.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/paths.hpp"

namespace fovea::formats {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kVersion = 1;
constexpr int64_t kMaxManifestBytes = 1 << 20;
constexpr size_t kMaxFiles = 1000;

std::string hexadecimal(uint32_t checksum) {
  return fmt::format("{:08x}", checksum);
}

// The one text that says this: whatever differs from it by a bit is refused.
std::string text_of(const std::vector<ManifestEntry>& entries) {
  Json files = Json::object();
  for (const ManifestEntry& entry : entries)
    files[entry.name] = {{"bytes", entry.bytes}, {"crc32c", hexadecimal(entry.checksum)}};
  const uint32_t own = crc32c(files.dump());
  return Json{{"fovea_manifest", kVersion}, {"files", files}, {"crc32c", hexadecimal(own)}}.dump(2) + "\n";
}

// A name within the folder: a manifest must not make anybody read elsewhere.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

uint32_t checksum_member(const Json& object, const std::string& where) {
  const auto text = json_member<std::string>(object, "crc32c", where);
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  check_data(error == std::errc() && end == text.data() + text.size(), where,
             "expected a checksum of eight hexadecimal digits, found \"{}\"", text);
  return value;
}

ManifestEntry measure(const fs::path& files, const std::string& name) {
  InputFile file(files / name);
  ManifestEntry entry{.name = name, .bytes = file.size()};
  std::vector<std::byte> chunk(static_cast<size_t>(std::min<int64_t>(file.size(), int64_t{1} << 20)));
  for (int64_t left = file.size(); left > 0;) {
    const auto part = std::span(chunk).first(
        static_cast<size_t>(std::min<int64_t>(left, static_cast<int64_t>(chunk.size()))));
    file.read(part);
    entry.checksum = crc32c(part, entry.checksum);
    left -= static_cast<int64_t>(part.size());
  }
  return entry;
}

void verify_entry(const fs::path& files, const ManifestEntry& expected) {
  const std::string where = (files / expected.name).string();
  const auto advice = [&] {
    return fmt::format(
        "copy the model's folder again; a change that was meant is accepted by fovea info {} --accept",
        files.string());
  };
  check_data(formats::exists(files / expected.name), where, "expected the file that {} lists, found none; {}",
             kManifestName, advice());
  const ManifestEntry found = measure(files, expected.name);
  check_data(found.bytes == expected.bytes, where, "expected {} bytes as {} says, found {}; {}",
             expected.bytes, kManifestName, found.bytes, advice());
  check_data(
      found.checksum == expected.checksum, where,
      "expected the bytes that were saved (CRC-32C {} in {}), found others ({}): damaged or edited; {}",
      hexadecimal(expected.checksum), kManifestName, hexadecimal(found.checksum), advice());
}

}  // namespace

const char* to_string(Integrity integrity) {
  return integrity == Integrity::kVerified ? "verified" : "unverified";
}

fs::path model_files(const fs::path& folder) {
  std::error_code error;
  const fs::path next = folder / kNextFolder;
  return fs::exists(next / kManifestName, error) ? next : folder;
}

void write_manifest(const fs::path& files, const std::vector<std::string>& names) {
  std::vector<std::string> sorted = names;
  std::sort(sorted.begin(), sorted.end());
  std::vector<ManifestEntry> entries;
  entries.reserve(sorted.size());
  for (const std::string& name : sorted) entries.push_back(measure(files, name));
  write_atomically(files / kManifestName, text_of(entries));
}

std::vector<ManifestEntry> read_manifest(const fs::path& files) {
  const std::string where = (files / kManifestName).string();
  const std::string text = read_file(files / kManifestName, kMaxManifestBytes);
  const Json json = parse_json(text, where);
  check_data(json.is_object() && json.contains("files") && json["files"].is_object(), where,
             "expected a manifest, found something else; copy the model's folder again");
  const auto version = json_member<int64_t>(json, "fovea_manifest", where);
  check_data(version == kVersion, where,
             "expected a manifest of version {}, found {}; it is of a later version", kVersion, version);
  std::vector<ManifestEntry> entries;
  check_data(json["files"].size() <= kMaxFiles, where, "expected at most {} files, found {}", kMaxFiles,
             json["files"].size());
  for (const auto& [name, file] : json["files"].items()) {
    check_data(is_plain_name(name) && file.is_object(), where,
               "expected names of files in the folder, found \"{}\"", name);
    entries.push_back({name, json_member<int64_t>(file, "bytes", where), checksum_member(file, where)});
  }
  check_data(text_of(entries) == text, where,
             "expected the bytes that were saved, found others: damaged or edited; copy the model's folder "
             "again, or accept its files as they are by fovea info {} --accept",
             files.string());
  return entries;
}

Integrity verify_files(const fs::path& files) {
  if (!formats::exists(files / kManifestName)) return Integrity::kUnverified;
  for (const ManifestEntry& entry : read_manifest(files)) verify_entry(files, entry);
  return Integrity::kVerified;
}

void verify_file(const fs::path& files, std::string_view name) {
  if (!formats::exists(files / kManifestName)) return;
  for (const ManifestEntry& entry : read_manifest(files)) {
    if (entry.name == name) verify_entry(files, entry);
  }
}

std::span<const char* const> all_model_file_names() {
  static constexpr std::array<const char*, 8> kNames = {"card.md",      "config.json",   "data.json",
                                                        "metrics.json", "metrics.jsonl", "model.safetensors",
                                                        "recipe.toml",  "tokenizer.json"};
  return kNames;
}

std::vector<std::string> model_file_names(const fs::path& files) {
  std::vector<std::string> names;
  for (const char* name : all_model_file_names()) {
    if (formats::exists(files / name)) names.emplace_back(name);
  }
  return names;
}

void accept_files(const fs::path& files) {
  write_manifest(files, model_file_names(files));
}

std::string manifest_text(const fs::path& files) {
  try {
    return read_file(files / kManifestName, kMaxManifestBytes);
  } catch (const DataError&) {
    return {};
  }
}

}  // namespace fovea::formats
