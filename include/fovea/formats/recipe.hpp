// Recipe: what to train, on what, and how; a TOML file read through typed questions (docs/formats/recipe.md).
// Whoever needs a value asks for it by its dotted key and gives the default; when everybody has asked,
// check_unread() reports the first key that nobody knew, with the nearest one that somebody asked for.
// Copying copies the values. One thread at a time (asking records the question).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fovea::formats {

// The values of one run. An empty one answers every question with its default.
class Recipe {
 public:
  Recipe();
  ~Recipe();
  Recipe(const Recipe& other);
  Recipe(Recipe&& other) noexcept;
  Recipe& operator=(const Recipe& other);
  Recipe& operator=(Recipe&& other) noexcept;

  // DataError "recipe.toml:12: …" for text that is not TOML, and for a file of more than 1 MB.
  static Recipe load(const std::filesystem::path& path);
  static Recipe parse(std::string_view text, std::string_view source_name);

  // One "key=value" of the command line's --set: the value is read as TOML, and as plain text when it is no
  // TOML (model.kind=lstm needs no quotes). Later ones win. ArgumentError: no '=', an empty part in the key,
  // a key that runs through a value ("model.width.x").
  void set(std::string_view key_and_value);
  void set(std::string_view key, bool value);
  void set(std::string_view key, int64_t value);
  void set(std::string_view key, double value);
  void set(std::string_view key, std::string_view value);
  // Without this one, a literal would choose bool.
  void set(std::string_view key, const char* value) { set(key, std::string_view(value)); }

  // Whether the key has a value. Counts as a question.
  bool has(std::string_view key) const;

  // The value, or the default. DataError "recipe.toml:3: model.width: expected an integer, found a string".
  // A whole number is accepted where a fraction is asked for, never the other way round.
  bool boolean(std::string_view key, bool fallback) const;
  int64_t integer(std::string_view key, int64_t fallback) const;
  double number(std::string_view key, double fallback) const;
  std::string text(std::string_view key, std::string_view fallback) const;
  std::vector<std::string> texts(std::string_view key, std::vector<std::string> fallback) const;
  std::vector<int64_t> integers(std::string_view key, std::vector<int64_t> fallback) const;
  std::vector<double> numbers(std::string_view key, std::vector<double> fallback) const;

  // The value or the default, and DataError when the value lies outside [least, most].
  int64_t integer(std::string_view key, int64_t fallback, int64_t least, int64_t most) const;
  double number(std::string_view key, double fallback, double least, double most) const;

  // One of `choices`: DataError lists them, and the nearest.
  std::string choice(std::string_view key, std::string_view fallback,
                     std::span<const std::string> choices) const;
  std::string choice(std::string_view key, std::string_view fallback,
                     std::initializer_list<std::string_view> choices) const;
  // Text that must be there: DataError "recipe.toml: expected a value for data.train, found none; …".
  std::string required_text(std::string_view key) const;

  // The names directly under a table, in the file's order; empty when there is no such table. Not a question.
  std::vector<std::string> keys(std::string_view table) const;

  // The folder of the file that it was loaded from; empty for one that was parsed or made.
  std::filesystem::path folder() const;

  // Where a key stands: "recipe.toml:12", "--set model.width" for an override, the file's name for an absent
  // key.
  std::string where(std::string_view key) const;
  // Throws DataError "where(key): key: message", for checks of the asker's own.
  [[noreturn]] void fail(std::string_view key, std::string_view message) const;

  // DataError for the first key, in the file's order, that nobody asked for.
  void check_unread() const;

  // Whether defaults that were asked for are written too, which makes the run repeatable under a later
  // version whose defaults differ.
  enum class Defaults { kLeave, kWrite };
  // TOML of the values that are set. Numbers read back to the same bits.
  std::string to_toml(Defaults defaults = Defaults::kLeave) const;
  // The same value by value: dotted key and TOML text, in the order of the keys.
  std::vector<std::pair<std::string, std::string>> values(Defaults defaults = Defaults::kLeave) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fovea::formats
