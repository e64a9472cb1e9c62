#include "fovea/data/read_options.hpp"

#include <array>

#include "base/check.hpp"
#include "fovea/formats/printable.hpp"

namespace fovea::data {

namespace {

// A name and what it stands for. The first name of a value is the one that reports use.
template <class Value>
struct Named {
  std::string_view name;
  Value value;
};

constexpr std::array<Named<FileFormat>, 4> kFormats{{{"csv", FileFormat::kCsv},
                                                     {"jsonl", FileFormat::kJsonLines},
                                                     {"lines", FileFormat::kLines},
                                                     {"document", FileFormat::kDocument}}};
constexpr std::array<Named<TextEncoding>, 11> kEncodings{{{"utf-8", TextEncoding::kUtf8},
                                                          {"utf-16le", TextEncoding::kUtf16Little},
                                                          {"utf-16be", TextEncoding::kUtf16Big},
                                                          {"latin-1", TextEncoding::kLatin1},
                                                          {"cp1252", TextEncoding::kWindows1252},
                                                          {"utf-16", TextEncoding::kUtf16},
                                                          {"iso-8859-1", TextEncoding::kLatin1},
                                                          {"windows-1252", TextEncoding::kWindows1252},
                                                          {"utf8", TextEncoding::kUtf8},
                                                          {"utf16", TextEncoding::kUtf16},
                                                          {"latin1", TextEncoding::kLatin1}}};
// "present" and "absent" stand in recipes of the first versions.
constexpr std::array<Named<Header>, 4> kHeaders{{{"yes", Header::kPresent},
                                                 {"no", Header::kAbsent},
                                                 {"present", Header::kPresent},
                                                 {"absent", Header::kAbsent}}};
constexpr std::array<Named<Quoting>, 2> kQuotings{{{"rfc4180", Quoting::kRfc4180}, {"none", Quoting::kNone}}};
constexpr std::array<Named<char>, 7> kDelimiters{{{"tab", '\t'},
                                                  {"\\t", '\t'},
                                                  {"comma", ','},
                                                  {"semicolon", ';'},
                                                  {"pipe", '|'},
                                                  {"space", ' '},
                                                  {"colon", ':'}}};

constexpr std::array<ReadOptionHelp, 5> kHelp{
    {{"format", "auto, csv, jsonl, lines or document", "What the file is"},
     {"delimiter", "auto, tab, comma, semicolon, pipe, space or a character", "Between the fields"},
     {"header", "auto, yes or no", "Whether the first row names the columns"},
     {"quoting", "rfc4180 or none", "Whether quotes hold fields together; none: they are text"},
     {"encoding", "auto, utf-8, utf-16, utf-16le, utf-16be, latin-1 or cp1252", "Of the text"}}};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return out;
}

template <class Table>
auto find_named(const Table& table, std::string_view name) {
  const std::string wanted = lower(name);
  std::optional<decltype(table[0].value)> found;
  for (const auto& entry : table) {
    if (!found && entry.name == wanted) found = entry.value;
  }
  return found;
}

template <class Table, class Value>
const char* name_of(const Table& table, Value value) {
  for (const auto& entry : table) {
    if (entry.value == value) return entry.name.data();
  }
  return "";
}

std::optional<char> delimiter_named(std::string_view name) {
  if (const auto found = find_named(kDelimiters, name)) return found;
  if (name.size() != 1) return std::nullopt;
  const char c = name[0];
  const bool usable = static_cast<unsigned char>(c) < 0x80 && c != '"' && c != '\n' && c != '\r' && c != '\0';
  return usable ? std::optional(c) : std::nullopt;
}

}  // namespace

const char* to_string(FileFormat format) {
  return name_of(kFormats, format);
}
const char* to_string(TextEncoding encoding) {
  return name_of(kEncodings, encoding);
}

FileFormat file_format(std::string_view name) {
  const auto found = find_named(kFormats, name);
  check_argument(found.has_value(), "data",
                 "expected a file format among csv, jsonl, lines, document, got \"{}\"",
                 formats::printable(name));
  return *found;
}

TextEncoding text_encoding(std::string_view name) {
  const auto found = find_named(kEncodings, name);
  check_argument(
      found.has_value(), "data",
      "expected a text encoding among utf-8, utf-16, utf-16le, utf-16be, latin-1, cp1252, got \"{}\"",
      formats::printable(name));
  return *found;
}

std::span<const ReadOptionHelp> read_option_names() {
  return kHelp;
}

std::string set_read_option(ReadOptions& options, std::string_view name, std::string_view value) {
  const ReadOptionHelp* help = nullptr;
  for (const ReadOptionHelp& entry : kHelp) help = name == entry.name ? &entry : help;
  check_argument(help != nullptr, "set_read_option", "expected an option for reading, got \"{}\"",
                 formats::printable(name));
  const auto take = [&](auto& option, const auto& found) {
    if (!found) return false;
    option = *found;
    return true;
  };
  const bool unset = value == "auto";
  bool taken = unset;
  if (name == "format") {
    options.format.reset();
    taken = unset || take(options.format, find_named(kFormats, value));
  } else if (name == "delimiter") {
    options.delimiter.reset();
    taken = unset || take(options.delimiter, delimiter_named(value));
  } else if (name == "header") {
    options.header.reset();
    taken = unset || take(options.header, find_named(kHeaders, value));
  } else if (name == "quoting") {
    options.quoting = Quoting::kRfc4180;
    taken = unset || take(options.quoting, find_named(kQuotings, value));
  } else {
    options.encoding.reset();
    taken = unset || take(options.encoding, find_named(kEncodings, value));
  }
  if (taken) return "";
  return fmt::format("expected {}, found \"{}\"", help->values, formats::printable(value));
}

}  // namespace fovea::data
