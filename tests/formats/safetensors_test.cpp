#include "fovea/formats/safetensors.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "fovea/base/error.hpp"
#include "fovea/formats/file.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fovea::formats {
namespace {

// A folder of this process: test processes run side by side.
const std::filesystem::path& own_folder() {
  static const TemporaryFolder folder;
  return folder.path();
}

std::filesystem::path temporary(const char* name) {
  return own_folder() / name;
}

std::string file_of(std::string header, std::string_view data) {
  const uint64_t size = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &size, 8);
  return bytes + header + std::string(data);
}

SafeTensors parse(std::string_view bytes) {
  return parse_safetensors(std::as_bytes(std::span(bytes)), "m.safetensors");
}

std::string message_of(std::string_view bytes) {
  try {
    parse(bytes);
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

std::vector<NamedTensor> some_tensors() {
  return {{"embed.weight", Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3})},
          {"flags", Tensor::from<bool>({true, false, true}, {3})},
          {"steps", Tensor::from<int64_t>({-7}, {})},
          {"empty", Tensor::empty({0, 5})},
          {"ids", Tensor::from<int32_t>({1, -2}, {2})},
          {"half", Tensor::full({3}, 0.5, DType::kF16)},
          {"brain", Tensor::full({1, 1, 2}, -2.5, DType::kBF16)},
          {"double", Tensor::full({2}, 0.1, DType::kF64)},
          {"größe \"quoted\"", Tensor::full({1}, 1)}};
}

TEST(SafeTensors, RoundTripKeepsEveryBit) {
  const auto tensors = some_tensors();
  const auto path = temporary("round.safetensors");
  save_safetensors(path, tensors, {{"format", "pt"}, {"note", "ü"}});
  const SafeTensors loaded = load_safetensors(path);
  EXPECT_EQ(loaded.metadata, (Metadata{{"format", "pt"}, {"note", "ü"}}));
  ASSERT_EQ(loaded.tensors.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const Tensor& found = loaded.at(name);
    EXPECT_EQ(found.shape(), tensor.shape()) << name;
    EXPECT_EQ(found.dtype(), tensor.dtype()) << name;
    EXPECT_EQ(std::memcmp(found.raw(), tensor.raw(), static_cast<size_t>(tensor.nbytes())), 0) << name;
  }
}

TEST(SafeTensors, NoTensorsAtAllIsAFile) {
  const auto path = temporary("none.safetensors");
  save_safetensors(path, {});
  EXPECT_TRUE(load_safetensors(path).tensors.empty());
}

TEST(SafeTensors, HeaderIsAlignedAndDataWiderFirst) {
  const auto path = temporary("align.safetensors");
  save_safetensors(path, some_tensors());
  const std::string bytes = read_file(path);
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  EXPECT_EQ(header % 8, 0u);
  size_t last = 8;
  for (const auto& [name, tensor] : load_safetensors(path).tensors) {
    EXPECT_LE(size_of(tensor.dtype()), last);
    last = size_of(tensor.dtype());
  }
}

TEST(SafeTensors, ReadsWhatOthersWrite) {
  // As the reference implementation writes it: no checksum, header padded with spaces.
  const std::string bytes = file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}   ",
                                    std::string("\0\0\x80\x3f\0\0\0\x40", 8));
  const SafeTensors loaded = parse(bytes);
  EXPECT_THAT(loaded.at("a").span(), testing::ElementsAre(1.0f, 2.0f));
  EXPECT_EQ(loaded.find("b"), nullptr);
}

TEST(SafeTensors, EveryFlippedBitIsFound) {
  const auto path = temporary("flip.safetensors");
  save_safetensors(path, some_tensors(), {{"k", "v"}});
  const std::string bytes = read_file(path);
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      if (message_of(damaged).empty()) {
        // The one change that is none: the key of the checksum itself spelt otherwise leaves a file without
        // one.
        EXPECT_NE(damaged.find("fovea.crc32c"), bytes.find("fovea.crc32c")) << "byte " << i << " bit " << bit;
      }
    }
  }
}

TEST(SafeTensors, EveryTruncationIsFound) {
  const auto path = temporary("cut.safetensors");
  save_safetensors(path, some_tensors());
  const std::string bytes = read_file(path);
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_THROW(parse(bytes.substr(0, size)), DataError) << size;
}

TEST(SafeTensors, BadHeadersAreRefused) {
  const auto one = [](const char* dtype, const char* shape, const char* offsets) {
    return std::string("{\"a\":{\"dtype\":") + dtype + ",\"shape\":" + shape +
           ",\"data_offsets\":" + offsets + "}}";
  };
  const std::string data(8, '\0');
  for (const std::string& header :
       {std::string(""),
        std::string("[]"),
        std::string("{"),
        std::string("nonsense"),
        std::string("{\"a\":1}"),
        std::string("{\"a\":{}}"),
        one("\"F8\"", "[2]", "[0,8]"),
        one("1", "[2]", "[0,8]"),
        one("\"F32\"", "2", "[0,8]"),
        one("\"F32\"", "[-2]", "[0,8]"),
        one("\"F32\"", "[2.5]", "[0,8]"),
        one("\"F32\"", "[3]", "[0,8]"),
        one("\"F32\"", "[1]", "[0,8]"),
        one("\"F32\"", "[2]", "[0,16]"),
        one("\"F32\"", "[2]", "[8,0]"),
        one("\"F32\"", "[2]", "[-8,0]"),
        one("\"F32\"", "[2]", "[0]"),
        one("\"F32\"", "[1]", "[4,8]"),
        one("\"F32\"", "[18446744073709551615]", "[0,8]"),
        one("\"F32\"", "[4294967296,4294967296]", "[0,8]"),
        one("\"F32\"", "[1,1,1,1,1,1,2]", "[0,8]"),
        one("\"F32\"", "[0,9223372036854775807]", "[0,0]"),
        std::string("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                    "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}"),
        std::string("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                    "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}"),
        std::string("{\"__metadata__\":{\"a\":1}}"),
        std::string("{\"__metadata__\":[]}"),
        std::string(1000, '[')}) {
    EXPECT_NE(message_of(file_of(header, data)), "") << header;
  }
  std::string huge = file_of("{}", "");
  huge[7] = '\x7f';
  EXPECT_THAT(message_of(huge), testing::HasSubstr("header of at most 100000000 bytes"));
}

TEST(SafeTensors, MessagesSayWhatToDo) {
  EXPECT_EQ(message_of("1234"),
            "m.safetensors: expected a safetensors file of at least 8 bytes, found 4; the file is truncated: "
            "copy it again");
  EXPECT_EQ(message_of(file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", "1234")),
            "m.safetensors: tensor \"a\": expected data_offsets within the 4 bytes of data, found [0, 8]; "
            "the file is "
            "truncated or damaged: copy it again");
  EXPECT_EQ(
      message_of(file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", "12345678")),
      "m.safetensors: expected 4 bytes of data, found 8; the file is truncated or damaged: copy it again");
}

TEST(SafeTensors, MisuseIsAnArgumentError) {
  const auto path = temporary("misuse.safetensors");
  const std::vector<NamedTensor> undefined{{"a", Tensor()}};
  const std::vector<NamedTensor> twice{{"a", Tensor::full({1}, 1)}, {"a", Tensor::full({1}, 1)}};
  const std::vector<NamedTensor> reserved{{"__metadata__", Tensor::full({1}, 1)}};
  const std::vector<NamedTensor> not_utf8{{"\xFF", Tensor::full({1}, 1)}};
  for (const auto& tensors : {undefined, twice, reserved, not_utf8}) {
    EXPECT_THROW(save_safetensors(path, tensors), ArgumentError);
  }
  EXPECT_THROW(save_safetensors(path, {}, {{"fovea.crc32c", "1"}}), ArgumentError);
  const std::vector<NamedTensor> one{{"embed.weight", Tensor::full({1}, 1)}};
  save_safetensors(path, one);
  try {
    load_safetensors(path).at("embed.wieght");
    FAIL();
  } catch (const ArgumentError& error) {
    EXPECT_STREQ(error.what(),
                 "[safetensors] expected a tensor \"embed.wieght\", found none among 1; did you mean "
                 "\"embed.weight\"?");
  }
}

}  // namespace
}  // namespace fovea::formats
