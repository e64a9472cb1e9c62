#include "data/encoding.hpp"

#include "base/check.hpp"
#include "fovea/formats/utf8.hpp"

namespace fovea::data {

namespace {

void check_is_text(std::string_view bytes, std::string_view source) {
  struct Magic {
    std::string_view bytes;
    const char* kind;
    const char* advice;
  };
  using namespace std::string_view_literals;
  static constexpr Magic kMagics[] = {
      {"\x1F\x8B"sv, "a gzip file", "decompress it first (gunzip)"},
      {"PK\x03\x04"sv, "a zip file or a spreadsheet", "save the sheet as CSV"},
      {"PAR1"sv, "a Parquet file", "export it as CSV or JSON Lines"},
      {"\xFD"
       "7zXZ"sv,
       "an xz file", "decompress it first (unxz)"},
      {"(\xB5/\xFD"sv, "a Zstandard file", "decompress it first (unzstd)"},
      {"SQLite format 3"sv, "an SQLite database", "export the table as CSV"}};
  for (const Magic& magic : kMagics) {
    check_data(!bytes.starts_with(magic.bytes), source, "expected text, found {}; {}", magic.kind,
               magic.advice);
  }
}

// UTF-8 unless more than one in a thousand of the non-ASCII sequences is invalid.
TextEncoding guess(std::string_view text) {
  int64_t invalid = 0;
  int64_t valid = 0;
  for (int64_t i = 0; i < static_cast<int64_t>(text.size());) {
    const formats::CodePoint point = formats::decode_utf8(text, i);
    if (!point.valid) ++invalid;
    if (point.length > 1) ++valid;
    i += point.length;
  }
  return invalid * 999 > valid ? TextEncoding::kLatin1 : TextEncoding::kUtf8;
}

}  // namespace

std::string decode_text(std::string bytes, const ReadOptions& options, ReadReport& report) {
  using namespace std::string_view_literals;
  check_is_text(bytes, report.source);
  size_t mark = 0;
  std::optional<TextEncoding> marked;
  if (bytes.starts_with("\xEF\xBB\xBF"sv)) {
    marked = TextEncoding::kUtf8;
    mark = 3;
  } else if (bytes.starts_with("\xFF\xFE"sv)) {
    marked = TextEncoding::kUtf16Little;
    mark = 2;
  } else if (bytes.starts_with("\xFE\xFF"sv)) {
    marked = TextEncoding::kUtf16Big;
    mark = 2;
  }
  if (options.encoding && marked != options.encoding) mark = 0;  // those bytes are text, the caller says
  report.byte_order_mark = mark > 0;
  if (options.encoding) {
    report.encoding = *options.encoding;
  } else if (marked) {
    report.encoding = *marked;
  } else {
    report.encoding = formats::find_invalid_utf8(bytes) < 0 ? TextEncoding::kUtf8 : guess(bytes);
  }
  const std::string_view body = std::string_view(bytes).substr(mark);
  switch (report.encoding) {
    case TextEncoding::kUtf16Little:
      return formats::utf16_to_utf8(body, formats::ByteOrder::kLittle);
    case TextEncoding::kUtf16Big:
      return formats::utf16_to_utf8(body, formats::ByteOrder::kBig);
    case TextEncoding::kLatin1:
      return formats::latin1_to_utf8(body);
    case TextEncoding::kUtf8:
      break;
  }
  if (mark > 0) bytes.erase(0, mark);
  return bytes;
}

}  // namespace fovea::data
