#include "data/magic.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "data/encoding.hpp"

namespace fovea::data {

namespace {

using namespace std::string_view_literals;

struct Magic {
  std::string_view bytes;
  const char* kind;
  const char* advice;
};

constexpr Magic kMagics[] = {
    {"\x1F\x8B"sv, "a gzip file", "decompress it first (gunzip)"},
    {"PK\x03\x04"sv, "a zip file or a spreadsheet", "unzip it, or save the sheet as CSV"},
    {"PK\x05\x06"sv, "an empty zip file", "name another file"},
    {"\xFD\x37zXZ"sv, "an xz file", "decompress it first (unxz)"},
    {"(\xB5/\xFD"sv, "a Zstandard file", "decompress it first (unzstd)"},
    {"BZh"sv, "a bzip2 file", "decompress it first (bunzip2)"},
    {"7z\xBC\xAF\x27\x1C"sv, "a 7z file", "unpack it first"},
    {"Rar!\x1A"sv, "a RAR file", "unpack it first"},
    {"\x04\x22\x4D\x18"sv, "an LZ4 file", "decompress it first (unlz4)"},
    {"\xD0\xCF\x11\xE0"sv, "an Excel or Word file", "save the sheet as CSV"},
    {"PAR1"sv, "a Parquet file", "export it as CSV or JSON Lines"},
    {"ARROW1"sv, "an Arrow file", "export it as CSV or JSON Lines"},
    {"FEA1"sv, "a Feather file", "export it as CSV or JSON Lines"},
    {"Obj\x01"sv, "an Avro file", "export it as CSV or JSON Lines"},
    {"ORC"sv, "an ORC file", "export it as CSV or JSON Lines"},
    {"\x89HDF\r\n"sv, "an HDF5 file", "export it as CSV or JSON Lines"},
    {"\x93NUMPY"sv, "a NumPy file", "export it as CSV or JSON Lines"},
    {"SQLite format 3"sv, "an SQLite database", "export the table as CSV"},
    {"%PDF-"sv, "a PDF file", "extract its text first (pdftotext)"},
    {"\x89PNG"sv, "a PNG picture", "name a file of text"},
    {"\xFF\xD8\xFF"sv, "a JPEG picture", "name a file of text"},
    {"\x7F\x45LF"sv, "a program", "name a file of text"},
    {"\xFF\xFE\0\0"sv, "UTF-32", "save it as UTF-8"},
    {"\0\0\xFE\xFF"sv, "UTF-32", "save it as UTF-8"}};

// "BZh" and "ORC" begin words too: what follows them in such a file is a digit, and no letter.
bool is_it(const Magic& magic, std::string_view bytes) {
  if (!bytes.starts_with(magic.bytes)) return false;
  if (magic.bytes == "BZh"sv) return bytes.size() > 9 && bytes.substr(4, 6) == "1AY&SY"sv;
  if (magic.bytes == "ORC"sv || magic.bytes == "PAR1"sv || magic.bytes == "FEA1"sv) {
    return bytes.find('\0') != std::string_view::npos;
  }
  return true;
}

}  // namespace

void check_is_text(std::string_view bytes, std::string_view source, std::optional<TextEncoding> asked) {
  for (const Magic& magic : kMagics) {
    check_data(!is_it(magic, bytes), source, "expected text, found {}; {}", magic.kind, magic.advice);
  }
  const bool utf16 = asked == TextEncoding::kUtf16 || asked == TextEncoding::kUtf16Little ||
                     asked == TextEncoding::kUtf16Big || find_mark(bytes).length == 2;
  if (utf16 || bytes.empty()) return;
  // A file of text may hold a stray zero byte, hardly one in ten.
  const auto zeros = std::count(bytes.begin(), bytes.end(), '\0');
  check_data(zeros * 10 < std::ssize(bytes) || find_utf16(bytes).has_value(), source,
             "expected text, found binary data ({} of the first {} bytes are zero); name a file of text",
             zeros, bytes.size());
}

}  // namespace fovea::data
