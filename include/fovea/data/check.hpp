// What is wrong with data, before a model learns it: the findings of `fovea data check`.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fovea/data/table.hpp"

namespace fovea::data {

// A part of the data with the name that messages use: "train", "validation", "test".
struct NamedTable {
  std::string name;  // as findings show it
  Table table;       // with the columns that CheckOptions name
};

// What to look at, and from where on to complain.
struct CheckOptions {
  std::vector<std::string> inputs{};  // what the model sees; empty: every column but the target and an index
  std::string target{};               // empty: there is none, and nothing is said about labels
  int64_t overlong_bytes = 20'000;    // about 5,000 tokens: beyond what the models here read in one piece
  int64_t rare_below = 10;            // a class of fewer rows can be neither learnt nor measured
  int64_t examples = 5;               // shown of each finding
};

// What can be wrong with a row, or with a class.
enum class FindingKind {
  kInvalidUtf8,  // a cell with U+FFFD, which readers write for bytes that mean nothing, or with such bytes
  kEmptyInput,   // every input cell empty or blank
  kEmptyTarget,  // no label
  kOverlong,     // an input longer than overlong_bytes
  kDuplicate,    // an earlier row of the same part has the same input and target
  kConflict,     // the same input stands elsewhere with another target
  kLeak,         // the same input stands in an earlier part
  kRareClass,    // a label of fewer than rare_below rows in the first part
  kUnseenClass,  // a label that the first part lacks
};

const char* to_string(FindingKind kind);  // "invalid_utf8", "empty_input", …

// One place where a finding was made, cut to one printable line.
struct Example {
  std::string where;  // "train.csv:17", empty for a class
  std::string text;   // the start of the input, or the label, with what it clashes with
};

// All that was found of one kind.
struct Finding {
  FindingKind kind = FindingKind::kDuplicate;  // decides what counts and what to do
  int64_t count = 0;                           // rows; classes for the last two kinds
  std::string advice;                          // what to do about it, in a sentence
  std::vector<Example> examples;               // the first ones, at most CheckOptions::examples
};

// What check() found.
struct CheckReport {
  std::vector<std::pair<std::string, int64_t>> parts;  // name, rows
  int64_t classes = 0;                                 // different labels over all parts
  std::vector<Finding> findings;                       // in the order of FindingKind, only those with a count

  // Whether there is nothing to complain about.
  bool clean() const { return findings.empty(); }
  // The count of a kind, 0 when it was not found.
  int64_t count(FindingKind kind) const;

  // What `fovea data check` prints: lines for people, and with --json one object {"parts", "classes",
  // "findings"}.
  std::string to_text() const;
  std::string to_json() const;
};

// Two inputs are the same when they agree after lower-casing and taking every run of white space (ASCII) as
// one space. The first part is the one trained on. DataError: a column that a part lacks. ArgumentError: no
// part.
CheckReport check(std::span<const NamedTable> parts, const CheckOptions& options = {});
// One part, named by its file.
CheckReport check(const Table& table, const CheckOptions& options = {});

}  // namespace fovea::data
