#include "fovea/formats/recipe.hpp"

#include <toml++/toml.h>
#include <algorithm>
#include <locale>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include "base/check.hpp"
#include "formats/nearest.hpp"
#include "fovea/formats/file.hpp"

namespace fovea::formats {

struct Recipe::State {
  std::string source = "recipe";
  std::filesystem::path folder;
  toml::table table;
  std::set<std::string, std::less<>> overridden;
  // Asking does not change the recipe, so it happens through const methods.
  mutable std::set<std::string, std::less<>> asked;
  mutable toml::table defaults;
};

namespace {

constexpr int64_t kMaxRecipeBytes = 1'000'000;
constexpr int kMaxDepth = 16;

// Keys are asked for by their dotted names, so a part may not hold a dot, nor anything that needs quotes.
bool is_plain_key(std::string_view part) {
  return !part.empty() && std::all_of(part.begin(), part.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

std::vector<std::string> split_key(std::string_view key, std::string_view call) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (true) {
    const size_t end = std::min(key.find('.', begin), key.size());
    check_argument(is_plain_key(key.substr(begin, end - begin)), call,
                   "expected a key such as model.width, got \"{}\"", key);
    parts.emplace_back(key.substr(begin, end - begin));
    if (end == key.size()) break;
    begin = end + 1;
  }
  check_argument(parts.size() <= static_cast<size_t>(kMaxDepth), call,
                 "expected a key of at most {} parts, got {}", kMaxDepth, parts.size());
  return parts;
}

template <class Table>
auto* find_node(Table& table, std::string_view key) {
  decltype(&*table.get("")) node = &table;
  size_t begin = 0;
  while (node != nullptr && begin <= key.size()) {
    const size_t end = std::min(key.find('.', begin), key.size());
    auto* inner = node->as_table();
    node = inner == nullptr ? nullptr : inner->get(key.substr(begin, end - begin));
    begin = end + 1;
  }
  return node;
}

// Puts a value under a dotted key, making tables on the way. False when a part of the way is a value.
template <class Value>
bool put(toml::table& table, const std::vector<std::string>& parts, Value&& value) {
  toml::table* at = &table;
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    toml::node* next = at->get(parts[i]);
    if (next == nullptr) next = &at->insert_or_assign(parts[i], toml::table{}).first->second;
    at = next->as_table();
    if (at == nullptr) return false;
  }
  at->insert_or_assign(parts.back(), std::forward<Value>(value));
  return true;
}

std::string kind_of(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::none:
      return "nothing";
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::string:
      return "text";
    case toml::node_type::integer:
      return "an integer";
    case toml::node_type::floating_point:
      return "a fraction";
    case toml::node_type::boolean:
      return "true or false";
    default:
      return "a date or time";
  }
}

template <class T>
std::optional<T> convert(const toml::node& node) {
  if constexpr (std::is_same_v<T, double>) {
    if (node.is_integer() || node.is_floating_point()) return node.value<double>();
    return std::nullopt;
  } else {
    return node.value_exact<T>();
  }
}

template <class T>
constexpr const char* wanted() {
  if constexpr (std::is_same_v<T, bool>) return "true or false";
  if constexpr (std::is_same_v<T, int64_t>) return "an integer";
  if constexpr (std::is_same_v<T, double>) return "a number";
  return "text";
}

void collect_leaves(const toml::table& table, const std::string& prefix, std::vector<std::string>& out) {
  for (const auto& [name, node] : table) {
    const std::string key = prefix.empty() ? std::string(name.str()) : prefix + "." + std::string(name.str());
    if (const auto* inner = node.as_table(); inner != nullptr && !inner->empty()) {
      collect_leaves(*inner, key, out);
    } else {
      out.push_back(key);
    }
  }
}

void merge_defaults(toml::table& into, const toml::table& defaults) {
  for (const auto& [name, node] : defaults) {
    toml::node* existing = into.get(name.str());
    if (existing == nullptr) {
      into.insert(name.str(), node);
    } else if (existing->is_table() && node.is_table()) {
      merge_defaults(*existing->as_table(), *node.as_table());
    }
  }
}

void check_keys(const toml::node& node, std::string_view source) {
  if (const toml::array* list = node.as_array(); list != nullptr) {
    for (const toml::node& item : *list) check_keys(item, source);
  }
  const toml::table* table = node.as_table();
  if (table == nullptr) return;
  for (const auto& [name, inner] : *table) {
    check_data(is_plain_key(name.str()), fmt::format("{}:{}", source, name.source().begin.line),
               "expected keys of letters, digits, '_' and '-', found \"{}\"", name.str());
    check_keys(inner, source);
  }
}

toml::table parse_toml(std::string_view text, std::string_view source) {
  try {
    toml::table table = toml::parse(text, source);
    check_keys(table, source);
    return table;
  } catch (const toml::parse_error& error) {
    throw_data(fmt::format("{}:{}", source, error.source().begin.line), "expected TOML, found a mistake: {}",
               error.description());
  }
}

}  // namespace

Recipe::Recipe() : state_(std::make_unique<State>()) {}
Recipe::~Recipe() = default;
Recipe::Recipe(const Recipe& other) : state_(std::make_unique<State>(*other.state_)) {}
Recipe::Recipe(Recipe&& other) noexcept : state_(std::move(other.state_)) {}
Recipe& Recipe::operator=(const Recipe& other) {
  Recipe copy(other);
  std::swap(state_, copy.state_);
  return *this;
}
Recipe& Recipe::operator=(Recipe&& other) noexcept {
  Recipe taken(std::move(other));
  std::swap(state_, taken.state_);
  return *this;
}

Recipe Recipe::load(const std::filesystem::path& path) {
  Recipe recipe = parse(read_file(path, kMaxRecipeBytes), path.string());
  recipe.state_->folder = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  return recipe;
}

Recipe Recipe::parse(std::string_view text, std::string_view source_name) {
  Recipe recipe;
  recipe.state_->source = source_name;
  recipe.state_->table = parse_toml(text, source_name);
  return recipe;
}

void Recipe::set(std::string_view key_and_value) {
  constexpr const char* kCall = "--set";
  const size_t equals = key_and_value.find('=');
  check_argument(equals != std::string_view::npos && equals > 0, kCall, "expected key=value, got \"{}\"",
                 key_and_value);
  const auto trim = [](std::string_view s) {
    const size_t first = s.find_first_not_of(" \t");
    return first == std::string_view::npos ? std::string_view()
                                           : s.substr(first, s.find_last_not_of(" \t") - first + 1);
  };
  const std::string_view key = trim(key_and_value.substr(0, equals));
  const std::string_view value = trim(key_and_value.substr(equals + 1));
  const auto parts = split_key(key, kCall);
  toml::table parsed;
  try {
    parsed = toml::parse("value = " + std::string(value));
    if (parsed.size() != 1) parsed.clear();  // a line break smuggled in a second key
  } catch (const toml::parse_error&) {
    parsed.clear();
  }
  if (parsed.empty()) parsed.insert("value", std::string(value));
  try {
    check_keys(parsed, kCall);
  } catch (const DataError& error) {
    throw_argument(kCall, "{}", error.what());
  }
  check_argument(put(state_->table, parts, *parsed.get("value")), kCall,
                 "expected a table on the way to \"{}\", got a value", key);
  state_->overridden.emplace(key);
}

namespace {
constexpr const char* kSet = "Recipe::set";
}  // namespace

void Recipe::set(std::string_view key, bool value) {
  check_argument(put(state_->table, split_key(key, kSet), value), kSet,
                 "expected a table on the way to \"{}\"", key);
  state_->overridden.emplace(key);
}
void Recipe::set(std::string_view key, int64_t value) {
  check_argument(put(state_->table, split_key(key, kSet), value), kSet,
                 "expected a table on the way to \"{}\"", key);
  state_->overridden.emplace(key);
}
void Recipe::set(std::string_view key, double value) {
  check_argument(put(state_->table, split_key(key, kSet), value), kSet,
                 "expected a table on the way to \"{}\"", key);
  state_->overridden.emplace(key);
}
void Recipe::set(std::string_view key, std::string_view value) {
  check_argument(put(state_->table, split_key(key, kSet), std::string(value)), kSet,
                 "expected a table on the way to \"{}\"", key);
  state_->overridden.emplace(key);
}

bool Recipe::has(std::string_view key) const {
  state_->asked.emplace(key);
  return find_node(state_->table, key) != nullptr;
}

namespace {

// What every typed question does; State is private to Recipe, so it is taken as a template.
template <class T, class State>
T ask(const Recipe& recipe, const State& state, std::string_view key, const T& fallback) {
  state.asked.emplace(key);
  const toml::node* node = find_node(state.table, key);
  if (node == nullptr) {
    put(state.defaults, split_key(key, "Recipe"), fallback);
    return fallback;
  }
  const auto value = convert<T>(*node);
  if (!value) recipe.fail(key, fmt::format("expected {}, found {}", wanted<T>(), kind_of(*node)));
  return *value;
}

template <class T, class State>
std::vector<T> ask_list(const Recipe& recipe, const State& state, std::string_view key,
                        std::vector<T> fallback) {
  state.asked.emplace(key);
  const toml::node* node = find_node(state.table, key);
  if (node == nullptr) {
    toml::array list;
    for (const T& item : fallback) list.push_back(item);
    put(state.defaults, split_key(key, "Recipe"), std::move(list));
    return fallback;
  }
  const toml::array* list = node->as_array();
  if (list == nullptr) recipe.fail(key, fmt::format("expected a list, found {}", kind_of(*node)));
  std::vector<T> values;
  for (const toml::node& item : *list) {
    auto value = convert<T>(item);
    if (!value)
      recipe.fail(key, fmt::format("expected a list of {} only, found {}", wanted<T>(), kind_of(item)));
    values.push_back(std::move(*value));
  }
  return values;
}

}  // namespace

bool Recipe::boolean(std::string_view key, bool fallback) const {
  return ask<bool>(*this, *state_, key, fallback);
}
int64_t Recipe::integer(std::string_view key, int64_t fallback) const {
  return ask<int64_t>(*this, *state_, key, fallback);
}
double Recipe::number(std::string_view key, double fallback) const {
  return ask<double>(*this, *state_, key, fallback);
}
std::string Recipe::text(std::string_view key, std::string_view fallback) const {
  return ask<std::string>(*this, *state_, key, std::string(fallback));
}
std::vector<std::string> Recipe::texts(std::string_view key, std::vector<std::string> fallback) const {
  return ask_list<std::string>(*this, *state_, key, std::move(fallback));
}
std::vector<int64_t> Recipe::integers(std::string_view key, std::vector<int64_t> fallback) const {
  return ask_list<int64_t>(*this, *state_, key, std::move(fallback));
}
std::vector<double> Recipe::numbers(std::string_view key, std::vector<double> fallback) const {
  return ask_list<double>(*this, *state_, key, std::move(fallback));
}

int64_t Recipe::integer(std::string_view key, int64_t fallback, int64_t least, int64_t most) const {
  const int64_t value = integer(key, fallback);
  if (value < least || value > most)
    fail(key, fmt::format("expected {} to {}, found {}", least, most, value));
  return value;
}

double Recipe::number(std::string_view key, double fallback, double least, double most) const {
  const double value = number(key, fallback);
  if (!(value >= least && value <= most))
    fail(key, fmt::format("expected {} to {}, found {}", least, most, value));
  return value;
}

std::string Recipe::choice(std::string_view key, std::string_view fallback,
                           std::span<const std::string> choices) const {
  std::string value = text(key, fallback);
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return value;
  fail(key, fmt::format("expected one of {}, found \"{}\"{}", fmt::join(choices, ", "), value,
                        suggestion(value, choices)));
}

std::string Recipe::choice(std::string_view key, std::string_view fallback,
                           std::initializer_list<std::string_view> choices) const {
  const std::vector<std::string> list(choices.begin(), choices.end());
  return choice(key, fallback, std::span<const std::string>(list));
}

std::string Recipe::required_text(std::string_view key) const {
  if (!has(key)) {
    throw_data(state_->source, "expected a value for {}, found none; add it to the recipe or give --set {}=…",
               key, key);
  }
  return text(key, "");
}

std::vector<std::string> Recipe::keys(std::string_view table) const {
  const toml::table* found = &state_->table;
  if (!table.empty()) {
    const toml::node* node = find_node(state_->table, table);
    found = node == nullptr ? nullptr : node->as_table();
  }
  std::vector<std::pair<uint32_t, std::string>> ordered;
  if (found != nullptr) {
    for (const auto& [name, node] : *found)
      ordered.emplace_back(node.source().begin.line, std::string(name.str()));
  }
  std::sort(ordered.begin(), ordered.end());
  std::vector<std::string> names;
  names.reserve(ordered.size());
  for (auto& [line, name] : ordered) names.push_back(std::move(name));
  return names;
}

std::filesystem::path Recipe::folder() const {
  return state_->folder;
}

std::string Recipe::where(std::string_view key) const {
  if (state_->overridden.contains(key)) return fmt::format("--set {}", key);
  const toml::node* node = find_node(state_->table, key);
  if (node == nullptr || node->source().begin.line == 0) return state_->source;
  return fmt::format("{}:{}", state_->source, node->source().begin.line);
}

void Recipe::fail(std::string_view key, std::string_view message) const {
  // "--set key" names it already.
  if (state_->overridden.contains(key)) throw_data(where(key), "{}", message);
  throw_data(where(key), "{}: {}", key, message);
}

void Recipe::check_unread() const {
  std::vector<std::string> leaves;
  collect_leaves(state_->table, "", leaves);
  const toml::table& table = state_->table;
  const auto line = [&](const std::string& key) {
    const toml::node* node = find_node(table, key);
    return node == nullptr ? 0u : node->source().begin.line;
  };
  std::stable_sort(leaves.begin(), leaves.end(),
                   [&](const std::string& a, const std::string& b) { return line(a) < line(b); });
  for (const std::string& key : leaves) {
    if (state_->asked.contains(key)) continue;
    // An empty table that somebody looked into is no mistake.
    const auto below = state_->asked.lower_bound(key + ".");
    if (below != state_->asked.end() && below->starts_with(key + ".")) {
      const toml::node* node = find_node(table, key);
      if (node != nullptr && node->is_table()) continue;
    }
    const std::vector<std::string> known(state_->asked.begin(), state_->asked.end());
    std::string hint = suggestion(key, known);
    if (hint.empty())
      hint = "; nothing reads it: remove it, or see docs/formats/recipe.md for the keys there are";
    throw_data(where(key), "unknown key \"{}\"{}", key, hint);
  }
}

std::string Recipe::to_toml(Defaults defaults) const {
  toml::table table = state_->table;
  if (defaults == Defaults::kWrite) merge_defaults(table, state_->defaults);
  std::ostringstream out;
  out.imbue(std::locale::classic());  // a host's own would write 1.000 for a thousand
  out << toml::toml_formatter{table, toml::toml_formatter::default_flags & ~toml::format_flags::indentation}
      << '\n';
  return out.str();
}

std::vector<std::pair<std::string, std::string>> Recipe::values(Defaults defaults) const {
  toml::table table = state_->table;
  if (defaults == Defaults::kWrite) merge_defaults(table, state_->defaults);
  std::vector<std::string> leaves;
  collect_leaves(table, "", leaves);
  std::vector<std::pair<std::string, std::string>> values;
  for (std::string& key : leaves) {
    std::ostringstream out;
    out.imbue(std::locale::classic());
    find_node(table, key)->visit([&](const auto& value) { out << value; });
    values.emplace_back(std::move(key), out.str());
  }
  return values;
}

}  // namespace fovea::formats
