#include "train/resume.hpp"

#include <fmt/ranges.h>

#include <charconv>
#include <map>

#include "base/check.hpp"
#include "base/number_text.hpp"
#include "fovea/formats/paths.hpp"
#include "fovea/tasks/data_digest.hpp"

namespace fovea::train {
namespace {

using Values = std::map<std::string, std::string>;

Values values_of(const formats::Recipe& recipe, formats::Recipe::Defaults defaults) {
  const auto values = recipe.values(defaults);
  return {values.begin(), values.end()};
}

// "train.epochs" of "kinds.lstm.train.epochs".
std::string common_key(const std::string& key) {
  if (!key.starts_with("kinds.")) return key;
  const size_t second = key.find('.', 6);
  return second == std::string::npos ? key : key.substr(second + 1);
}

bool grows(const std::string& before, const std::string& now) {
  int64_t old_value = 0, new_value = 0;
  const auto read = [](const std::string& text, int64_t& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size();
  };
  return read(before, old_value) && read(now, new_value) && 0 < old_value && old_value < new_value;
}

// 3 and 3.0 are one value.
bool same_value(const std::string& a, const std::string& b) {
  if (a == b) return true;
  const auto x = number_in<double>(a), y = number_in<double>(b);
  return x && y && *x == *y;
}

}  // namespace

RecipeChanges compare_recipes(const formats::Recipe& given, const std::filesystem::path& files,
                              const std::filesystem::path& out) {
  RecipeChanges changes;
  const auto file = files / "recipe.toml";
  if (!formats::exists(file)) return changes;  // stopped before it had begun
  const Values before = values_of(formats::Recipe::load(file), formats::Recipe::Defaults::kLeave);
  const Values now = values_of(given, formats::Recipe::Defaults::kWrite);
  const Values set = values_of(given, formats::Recipe::Defaults::kLeave);
  std::vector<std::string> refused;
  const auto differ = [&](const std::string& key, const std::string& old_value,
                          const std::string& new_value) {
    const std::string common = common_key(key);
    if (common.starts_with("data.")) {
      changes.data.push_back(key);
    } else if (common == "train.log_every" || common == "train.checkpoint_every") {
      return;
    } else if ((common == "train.epochs" || common == "train.steps") && grows(old_value, new_value)) {
      changes.longer = fmt::format("{} from {} to {}", key, old_value, new_value);
    } else {
      refused.push_back(fmt::format("{} = {} (it began with {})", key,
                                    new_value.empty() ? "nothing" : new_value,
                                    old_value.empty() ? "none" : old_value));
    }
  };
  for (const auto& [key, value] : now) {
    const auto old_value = before.find(key);
    if (old_value != before.end()) {
      if (!same_value(old_value->second, value)) differ(key, old_value->second, value);
    } else if (set.contains(key)) {
      differ(key, "", value);  // a default of a key that the kept recipe lacks came with a later version
    }
  }
  for (const auto& [key, value] : before) {
    if (!now.contains(key)) differ(key, value, "");
  }
  check_argument(refused.empty(), "train",
                 "expected the settings with which the run in {} began, got {}; continue with fovea train {} "
                 "--out {} --resume (train.epochs may grow), or begin anew with --overwrite",
                 out.string(), fmt::join(refused, ", "), file.string(), out.string());
  return changes;
}

void check_data_unchanged(const tasks::Task& task, const RecipeChanges& changes,
                          const std::filesystem::path& files, LogSink* log) {
  const auto file = files / "data.json";
  if (!formats::exists(file)) {
    if (log != nullptr && formats::exists(files / "config.json")) {
      log->log(LogLevel::kWarning,
               fmt::format("{}: there is no data.json, an earlier version began this run: whether its data "
                           "have changed since cannot be told",
                           files.string()));
    }
    return;
  }
  const std::string difference = tasks::DataDigest::load(file).difference(task.data_digest());
  if (difference.empty()) return;
  throw DataError(fmt::format(
      "{}{}; put the data back as they were, or begin anew with --overwrite", difference,
      changes.data.empty() ? std::string()
                           : fmt::format(" (other settings: {})", fmt::join(changes.data, ", "))));
}

}  // namespace fovea::train
