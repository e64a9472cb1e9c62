#include "fovea/formats/safetensors.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <set>

#include "formats/json.hpp"
#include "formats/nearest.hpp"
#include "fovea/base/function_ref.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/utf8.hpp"

namespace fovea::formats {

static_assert(std::endian::native == std::endian::little,
              "safetensors data is little-endian and is not swapped");

namespace {

constexpr int64_t kMaxHeaderBytes = 100'000'000;  // the bound of the reference implementation
constexpr const char* kMetadataKey = "__metadata__";
constexpr const char* kChecksumKey = "fovea.crc32c";
constexpr std::string_view kChecksumText =
    "\"fovea.crc32c\":\"";  // as it stands in a header that Fovea wrote
constexpr size_t kChecksumDigits = 8;

struct DTypeName {
  DType dtype;
  const char* name;
};
constexpr std::array<DTypeName, 7> kDTypes{{{DType::kF64, "F64"},
                                            {DType::kI64, "I64"},
                                            {DType::kF32, "F32"},
                                            {DType::kI32, "I32"},
                                            {DType::kBF16, "BF16"},
                                            {DType::kF16, "F16"},
                                            {DType::kBool, "BOOL"}}};

const char* dtype_name(DType dtype) {
  for (const auto& entry : kDTypes) {
    if (entry.dtype == dtype) return entry.name;
  }
  return "?";
}

struct Entry {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  int64_t begin = 0;
  int64_t end = 0;
};

Entry parse_entry(const std::string& name, const Json& value, int64_t data_bytes, std::string_view where) {
  Entry entry;
  entry.name = name;
  const auto fail = [&](const auto& expected, const auto& found) {
    throw_data(where, "tensor \"{}\": expected {}, found {}", name, expected, found);
  };
  if (!value.is_object() || !value.contains("dtype") || !value.contains("shape") ||
      !value.contains("data_offsets")) {
    fail("an object with dtype, shape and data_offsets", json_kind(value));
  }
  const Json& dtype = value["dtype"];
  const auto known = std::find_if(kDTypes.begin(), kDTypes.end(), [&](const DTypeName& candidate) {
    return dtype.is_string() && dtype.get_ref<const std::string&>() == candidate.name;
  });
  if (known == kDTypes.end()) {
    fail("dtype F64, F32, BF16, F16, I64, I32 or BOOL",
         dtype.dump(-1, ' ', false, Json::error_handler_t::replace));
  }
  entry.dtype = known->dtype;

  const Json& shape = value["shape"];
  if (!shape.is_array() || shape.size() > static_cast<size_t>(Shape::kMaxRank)) {
    fail("a shape of at most six dimensions",
         shape.is_array() ? fmt::format("{} of them", shape.size()) : "no list");
  }
  std::array<int64_t, Shape::kMaxRank> dims{};
  size_t rank = 0;
  bool empty = false;
  for (const Json& dim : shape) {
    if (!dim.is_number_unsigned() || dim.get<uint64_t>() > uint64_t{1} << 48) {
      fail("dimensions from 0 to 2^48", dim.dump(-1, ' ', false, Json::error_handler_t::replace));
    }
    dims[rank++] = dim.get<int64_t>();
    empty = empty || dim.get<int64_t>() == 0;
  }
  int64_t numel = empty ? 0 : 1;
  for (size_t i = 0; i < rank && !empty; ++i) {
    if (numel > data_bytes / dims[i])
      fail(fmt::format("at most {} bytes of data", data_bytes), "a larger shape");
    numel *= dims[i];
  }
  try {
    entry.shape = Shape(std::span<const int64_t>(dims.data(), rank));
  } catch (const ArgumentError& error) {
    fail("a shape within bounds", error.what());
  }

  const Json& offsets = value["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    fail("data_offsets [begin, end]", offsets.dump(-1, ' ', false, Json::error_handler_t::replace));
  }
  const auto begin = offsets[0].get<uint64_t>();
  const auto end = offsets[1].get<uint64_t>();
  if (begin > end || end > static_cast<uint64_t>(data_bytes)) {
    fail(fmt::format("data_offsets within the {} bytes of data", data_bytes),
         fmt::format("[{}, {}]; the file is truncated or damaged: copy it again", begin, end));
  }
  entry.begin = static_cast<int64_t>(begin);
  entry.end = static_cast<int64_t>(end);
  const auto element = static_cast<int64_t>(size_of(entry.dtype));
  if (numel > data_bytes / element || entry.end - entry.begin != numel * element) {
    fail(fmt::format("{} elements of {}", numel, known->name),
         fmt::format("{} bytes", entry.end - entry.begin));
  }
  return entry;
}

void check_ranges(std::vector<Entry>& entries, int64_t data_bytes, std::string_view where) {
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  int64_t at = 0;
  for (const Entry& entry : entries) {
    check_data(entry.begin == at, where,
               "tensor \"{}\": expected its data at byte {}, found byte {}; the byte ranges {}", entry.name,
               at, entry.begin, entry.begin < at ? "overlap" : "leave a hole");
    at = entry.end;
  }
  check_data(at == data_bytes, where,
             "expected {} bytes of data, found {}; the file is truncated or damaged: copy it again", at,
             data_bytes);
}

// The checksum of a header, its own eight digits read as zeros.
uint32_t header_checksum(std::string header, std::string_view where) {
  const size_t found = header.find(kChecksumText);
  check_data(found != std::string::npos && found + kChecksumText.size() + kChecksumDigits <= header.size(),
             where,
             "expected the checksum in the form that Fovea writes, found another; remove fovea.crc32c from "
             "the metadata");
  header.replace(found + kChecksumText.size(), kChecksumDigits, kChecksumDigits, '0');
  return crc32c(header);
}

// Fills the span with the next bytes of the file.
using NextBytes = FunctionRef<void(std::span<std::byte>)>;

// A file of `size` bytes, read once from front to back, each tensor straight into its own memory.
SafeTensors read_in_order(int64_t size, NextBytes next, std::string_view where) {
  check_data(
      size >= 8, where,
      "expected a safetensors file of at least 8 bytes, found {}; the file is truncated: copy it again",
      size);
  uint64_t header_bytes = 0;
  next(std::as_writable_bytes(std::span(&header_bytes, 1)));
  check_data(
      header_bytes <= static_cast<uint64_t>(kMaxHeaderBytes), where,
      "expected a safetensors header of at most {} bytes, found {}; this is another kind of file, or damaged",
      kMaxHeaderBytes, header_bytes);
  check_data(header_bytes <= static_cast<uint64_t>(size - 8), where,
             "expected a header of {} bytes, found {} in the file; the file is truncated: copy it again",
             header_bytes, size - 8);
  std::string header(header_bytes, '\0');
  next(std::as_writable_bytes(std::span(header)));
  const int64_t data_bytes = size - 8 - static_cast<int64_t>(header_bytes);

  const Json json = parse_json(header, where);
  check_data(json.is_object(), where, "expected the header to be a JSON object, found {}", json_kind(json));
  SafeTensors result;
  std::vector<Entry> entries;
  for (const auto& [name, value] : json.items()) {
    if (name != kMetadataKey) {
      entries.push_back(parse_entry(name, value, data_bytes, where));
      continue;
    }
    check_data(value.is_object(), where, "expected __metadata__ to be an object, found {}", json_kind(value));
    for (const auto& [key, text] : value.items()) {
      check_data(text.is_string(), where, "expected metadata \"{}\" to be text, found {}", key,
                 json_kind(text));
      result.metadata[key] = text.get<std::string>();
    }
  }
  check_ranges(entries, data_bytes, where);
  const auto checksum = result.metadata.find(kChecksumKey);
  const bool checked = checksum != result.metadata.end();
  uint32_t actual = checked ? header_checksum(header, where) : 0;
  for (Entry& entry : entries) {
    Tensor tensor = Tensor::empty(entry.shape, entry.dtype);
    const std::span bytes(static_cast<std::byte*>(tensor.raw()), static_cast<size_t>(tensor.nbytes()));
    if (!bytes.empty()) next(bytes);
    if (checked) actual = crc32c(bytes, actual);
    if (entry.dtype == DType::kBool) {  // any byte but 0 and 1 is no bool: reading it would be undefined
      for (std::byte& b : bytes) b = b == std::byte{0} ? std::byte{0} : std::byte{1};
    }
    result.tensors.push_back({std::move(entry.name), std::move(tensor)});
  }
  if (checked) {
    const std::string digits = fmt::format("{:08x}", actual);
    check_data(digits == checksum->second, where,
               "expected checksum {}, found {}; the file is damaged: copy it again", checksum->second,
               digits);
    result.metadata.erase(checksum);
  }
  return result;
}

std::span<const std::byte> bytes_of(const Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.raw()), static_cast<size_t>(tensor.nbytes())};
}

}  // namespace

const Tensor* SafeTensors::find(std::string_view name) const {
  for (const NamedTensor& entry : tensors) {
    if (entry.name == name) return &entry.tensor;
  }
  return nullptr;
}

const Tensor& SafeTensors::at(std::string_view name) const {
  if (const Tensor* found = find(name)) return *found;
  std::vector<std::string> names;
  names.reserve(tensors.size());
  for (const NamedTensor& entry : tensors) names.push_back(entry.name);
  throw_argument("safetensors", "expected a tensor \"{}\", found none among {}{}", name, names.size(),
                 suggestion(name, names));
}

SafeTensors parse_safetensors(std::span<const std::byte> bytes, std::string_view where) {
  size_t at = 0;
  const auto next = [&](std::span<std::byte> out) {
    std::memcpy(out.data(), bytes.data() + at, out.size());
    at += out.size();
  };
  return read_in_order(static_cast<int64_t>(bytes.size()), next, where);
}

SafeTensors load_safetensors(const std::filesystem::path& path) {
  InputFile file(path);
  const auto next = [&](std::span<std::byte> out) { file.read(out); };
  return read_in_order(file.size(), next, path.string());
}

void save_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                      const Metadata& metadata) {
  constexpr const char* kCall = "save_safetensors";
  std::set<std::string_view> names;
  std::vector<const NamedTensor*> order;
  for (const NamedTensor& entry : tensors) {
    check_argument(entry.tensor.defined(), kCall, "expected tensors with elements, got \"{}\" undefined",
                   entry.name);
    check_argument(entry.name != kMetadataKey, kCall, "expected another name than \"{}\"", kMetadataKey);
    check_argument(find_invalid_utf8(entry.name) < 0, kCall, "expected names in UTF-8, got another encoding");
    check_argument(names.insert(entry.name).second, kCall, "expected each name once, got \"{}\" twice",
                   entry.name);
    order.push_back(&entry);
  }
  std::stable_sort(order.begin(), order.end(), [](const NamedTensor* a, const NamedTensor* b) {
    return size_of(a->tensor.dtype()) > size_of(b->tensor.dtype());
  });

  Json header = Json::object();
  Json& written = header[kMetadataKey] = Json::object();
  written[kChecksumKey] =
      std::string(kChecksumDigits, '0');  // first, so that a search of the header finds it first
  for (const auto& [key, value] : metadata) {
    check_argument(key != kChecksumKey, kCall, "expected metadata without \"{}\", which is written here",
                   kChecksumKey);
    check_argument(find_invalid_utf8(key) < 0 && find_invalid_utf8(value) < 0, kCall,
                   "expected metadata in UTF-8, got another encoding");
    written[key] = value;
  }
  int64_t at = 0;
  for (const NamedTensor* entry : order) {
    const auto dims = entry->tensor.shape().dims();
    header[entry->name] = Json{{"dtype", dtype_name(entry->tensor.dtype())},
                               {"shape", std::vector<int64_t>(dims.begin(), dims.end())},
                               {"data_offsets", {at, at + entry->tensor.nbytes()}}};
    at += entry->tensor.nbytes();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  check_argument(std::cmp_less_equal(text.size(), kMaxHeaderBytes), kCall,
                 "expected a header of at most {} bytes, got {}", kMaxHeaderBytes, text.size());
  uint32_t checksum = crc32c(text);
  for (const NamedTensor* entry : order) checksum = crc32c(bytes_of(entry->tensor), checksum);
  text.replace(text.find(kChecksumText) + kChecksumText.size(), kChecksumDigits,
               fmt::format("{:08x}", checksum));

  AtomicFile file(path);
  const auto header_bytes = static_cast<uint64_t>(text.size());
  file.write(std::as_bytes(std::span(&header_bytes, 1)));
  file.write(text);
  for (const NamedTensor* entry : order) file.write(bytes_of(entry->tensor));
  file.commit();
}

}  // namespace fovea::formats
