#include "fovea/data/check.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/check.hpp"
#include "fovea/formats/printable.hpp"
#include "fovea/formats/utf8.hpp"
#include "fovea/formats/words.hpp"

namespace fovea::data {

namespace {

constexpr size_t kKinds = 9;
constexpr std::array<const char*, kKinds> kNames{"invalid_utf8", "empty_input", "empty_target",
                                                 "overlong",     "duplicate",   "conflict",
                                                 "leak",         "rare_class",  "unseen_class"};
constexpr std::array<const char*, kKinds> kTitles{"rows with damaged characters (U+FFFD)",
                                                  "rows with an empty input",
                                                  "rows without a label",
                                                  "rows with an overlong input",
                                                  "rows that repeat an earlier one",
                                                  "rows whose input has another label elsewhere",
                                                  "rows whose input is in an earlier part too",
                                                  "rare classes",
                                                  "classes that training never shows"};
constexpr std::array<const char*, kKinds> kAdvice{
    "save the file as UTF-8, or name its encoding (--encoding, data.encoding); these bytes are read as "
    "U+FFFD",
    "remove them",
    "label or remove them, or train with data.missing_target = \"skip\"",
    "shorten or split them; a model reads only their beginning",
    "keep one of each, or training counts them twice",
    "decide on one label for each input; no model can learn both",
    "keep such rows in one part only (split by a group column), or the score is too good",
    "merge them into another class, or find more rows",
    "move rows of them into the training part, or remove them"};

constexpr size_t kShown = 80;  // characters of a cell

std::string shortened(std::string_view text) {
  std::string line(text.substr(0, 4 * kShown));
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\n' || c == '\r' || c == '\t'; }, ' ');
  return formats::printable(line, kShown);
}

// Readers write U+FFFD for bytes that mean nothing; a file may hold it already.
bool is_damaged(std::string_view text) {
  return formats::find_invalid_utf8(text) >= 0 || text.find("\xEF\xBF\xBD") != std::string_view::npos;
}

// Lower case, each run of white space one space, none at the ends.
std::string input_key(std::string_view text) {
  const std::string lower = formats::lower_case(text);
  std::string key;
  key.reserve(lower.size());
  for (const char c : lower) {
    const bool space = c == ' ' || (c >= '\t' && c <= '\r');
    if (!space) {
      key += c;
    } else if (!key.empty() && key.back() != ' ') {
      key += ' ';
    }
  }
  if (key.ends_with(' ')) key.pop_back();
  return key;
}

struct Place {
  size_t part = 0;
  int64_t row = 0;
};

class Checker {
 public:
  Checker(std::span<const NamedTable> parts, const CheckOptions& options) : parts_(parts), options_(options) {
    for (size_t i = 0; i < kKinds; ++i) {
      findings_[i].kind = static_cast<FindingKind>(i);
      findings_[i].advice = kAdvice[i];
    }
  }

  CheckReport run() {
    CheckReport report;
    for (size_t p = 0; p < parts_.size(); ++p) {
      report.parts.emplace_back(parts_[p].name, parts_[p].table.rows());
      check_part(p);
    }
    check_conflicts();
    report.classes = static_cast<int64_t>(classes_.size());
    if (!options_.target.empty()) check_classes();
    for (Finding& finding : findings_) {
      if (finding.count > 0) report.findings.push_back(std::move(finding));
    }
    return report;
  }

 private:
  void add(FindingKind kind, std::string where, std::string text) {
    Finding& finding = findings_[static_cast<size_t>(kind)];
    ++finding.count;
    if (std::cmp_less(finding.examples.size(), options_.examples)) {
      finding.examples.push_back({std::move(where), std::move(text)});
    }
  }

  void check_part(size_t p) {
    const Table& table = parts_[p].table;
    const int64_t target = options_.target.empty() ? -1 : table.require_column(options_.target);
    std::vector<int64_t> inputs;
    inputs.reserve(options_.inputs.size());
    for (const std::string& name : options_.inputs) inputs.push_back(table.require_column(name));
    for (int64_t c = 0; options_.inputs.empty() && c < table.columns(); ++c) {
      if (c != target && c != table.index_column()) inputs.push_back(c);
    }
    for (int64_t r = 0; r < table.rows(); ++r) {
      std::string text;
      for (const int64_t c : inputs) {
        if (c != inputs[0]) text += '\n';
        text += table.cell(r, c);
      }
      const std::string_view label = target < 0 ? std::string_view() : table.cell(r, target);
      check_row(Place{p, r}, text, label);
    }
  }

  void check_row(Place place, const std::string& text, std::string_view label) {
    const Table& table = parts_[place.part].table;
    const std::string where = table.where(place.row);
    if (is_damaged(text) || is_damaged(label)) {
      add(FindingKind::kInvalidUtf8, where, shortened(text));
    }
    if (!options_.target.empty()) {
      if (label.empty()) {
        add(FindingKind::kEmptyTarget, where, shortened(text));
      } else {
        auto& counts = classes_[std::string(label)];
        counts.resize(parts_.size());
        ++counts[place.part];
      }
    }
    std::string key = input_key(text);
    if (key.empty()) {
      add(FindingKind::kEmptyInput, where, shortened(label));
      return;
    }
    if (std::cmp_greater(text.size(), options_.overlong_bytes)) {
      add(FindingKind::kOverlong, where, fmt::format("{} bytes: {}", text.size(), shortened(text)));
    }
    const auto [found, fresh] = inputs_.emplace(std::move(key), places_.size());
    places_.push_back(place);
    labels_.push_back(label);
    next_.push_back(kNone);
    if (fresh) {
      last_.push_back(places_.size() - 1);
      first_of_.push_back(last_.size() - 1);
      return;
    }
    check_repeat(found->second, text);
  }

  // The row that was just added has the input of the row `first`.
  void check_repeat(size_t first, const std::string& text) {
    const size_t now = places_.size() - 1;
    const size_t chain = first_of_[first];
    first_of_.push_back(chain);
    bool duplicate = false;
    for (size_t i = first; i != kNone && !duplicate; i = next_[i]) {
      if (places_[i].part != places_[now].part || labels_[i] != labels_[now]) continue;
      duplicate = true;
      add(FindingKind::kDuplicate, where(now), fmt::format("as {}: {}", where(i), shortened(text)));
    }
    if (places_[first].part != places_[now].part) {
      add(FindingKind::kLeak, where(now), fmt::format("as {}: {}", where(first), shortened(text)));
    }
    // Rows that repeat in every way add nothing to later comparisons; leaving them out keeps the chains
    // short.
    if (duplicate) {
      duplicates_.push_back({first, now});
      return;
    }
    next_[last_[chain]] = now;
    last_[chain] = now;
  }

  void check_conflicts() {
    if (options_.target.empty()) return;
    std::vector<size_t> conflicting(places_.size(), kNone);
    for (const auto& [key, first] : inputs_) {
      size_t other = kNone;
      for (size_t i = next_[first]; i != kNone && other == kNone; i = next_[i]) {
        if (labels_[i] != labels_[first]) other = i;
      }
      if (other == kNone) continue;
      for (size_t i = first; i != kNone; i = next_[i])
        conflicting[i] = labels_[i] == labels_[first] ? other : first;
    }
    for (const auto& [first, row] : duplicates_) {
      if (conflicting[first] == kNone) continue;
      conflicting[row] = labels_[row] == labels_[first] ? conflicting[first] : first;
    }
    for (size_t i = 0; i < conflicting.size(); ++i) {
      if (conflicting[i] == kNone) continue;
      add(FindingKind::kConflict, where(i),
          fmt::format("{}, but {} at {}", shortened(labels_[i]), shortened(labels_[conflicting[i]]),
                      where(conflicting[i])));
    }
  }

  void check_classes() {
    for (const auto& [label, counts] : classes_) {
      if (counts[0] == 0) {
        const auto part = static_cast<size_t>(
            std::find_if(counts.begin(), counts.end(), [](int64_t count) { return count > 0; }) -
            counts.begin());
        add(FindingKind::kUnseenClass, "",
            fmt::format("{}: only in {}", shortened(label), formats::printable(parts_[part].name)));
      } else if (counts[0] < options_.rare_below) {
        add(FindingKind::kRareClass, "", fmt::format("{}: {} rows", shortened(label), counts[0]));
      }
    }
  }

  std::string where(size_t i) const { return parts_[places_[i].part].table.where(places_[i].row); }

  static constexpr size_t kNone = ~size_t{0};
  std::span<const NamedTable> parts_;
  const CheckOptions& options_;
  std::array<Finding, kKinds> findings_;
  std::map<std::string, std::vector<int64_t>> classes_;  // rows of each label by part
  // Rows with an input, in order; rows of the same input form a chain from the first one through next_.
  std::unordered_map<std::string, size_t> inputs_;
  std::vector<Place> places_;
  std::vector<std::string_view> labels_;
  std::vector<size_t> next_;
  std::vector<size_t> first_of_;  // row -> its chain
  std::vector<size_t> last_;      // chain -> its last row
  std::vector<std::pair<size_t, size_t>> duplicates_;
};

}  // namespace

const char* to_string(FindingKind kind) {
  return kNames[static_cast<size_t>(kind)];
}

int64_t CheckReport::count(FindingKind kind) const {
  for (const Finding& finding : findings) {
    if (finding.kind == kind) return finding.count;
  }
  return 0;
}

std::string CheckReport::to_text() const {
  std::string out;
  for (const auto& [name, rows] : parts) out += fmt::format("{}: {} rows\n", formats::printable(name), rows);
  if (classes > 0) out += fmt::format("{} classes\n", classes);
  if (clean()) return out + "nothing to complain about\n";
  for (const Finding& finding : findings) {
    out +=
        fmt::format("{} {}: {}\n", finding.count, kTitles[static_cast<size_t>(finding.kind)], finding.advice);
    for (const Example& example : finding.examples) {
      out += example.where.empty() ? fmt::format("    {}\n", example.text)
                                   : fmt::format("    {}: {}\n", example.where, example.text);
    }
  }
  return out;
}

std::string CheckReport::to_json() const {
  using Json = nlohmann::ordered_json;
  Json json{{"parts", Json::array()}, {"classes", classes}, {"findings", Json::array()}};
  for (const auto& [name, rows] : parts) {
    json["parts"].push_back({{"name", formats::replace_invalid_utf8(name)}, {"rows", rows}});
  }
  for (const Finding& finding : findings) {
    Json examples = Json::array();
    for (const Example& example : finding.examples) {
      examples.push_back({{"where", formats::replace_invalid_utf8(example.where)}, {"text", example.text}});
    }
    json["findings"].push_back({{"kind", to_string(finding.kind)},
                                {"count", finding.count},
                                {"advice", finding.advice},
                                {"examples", std::move(examples)}});
  }
  return json.dump();
}

CheckReport check(std::span<const NamedTable> parts, const CheckOptions& options) {
  check_argument(!parts.empty(), "data check", "expected at least one part, got none");
  return Checker(parts, options).run();
}

CheckReport check(const Table& table, const CheckOptions& options) {
  const NamedTable part{table.source(), table};
  return check({&part, 1}, options);
}

}  // namespace fovea::data
