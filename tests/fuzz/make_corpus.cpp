// Writes what the fuzzers begin with: make_corpus FOLDER makes FOLDER/fuzz_csv/0, FOLDER/fuzz_recipe/0, …
#include <filesystem>
#include <string>
#include <vector>

#include "fovea/base/random.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/safetensors.hpp"
#include "fovea/formats/tokenizer.hpp"
#include "tests/fuzz/small_run.hpp"

namespace {

namespace formats = fovea::formats;

void write(const std::filesystem::path& folder, const std::vector<std::string>& inputs) {
  std::filesystem::create_directories(folder);
  for (size_t i = 0; i < inputs.size(); ++i) formats::write_atomically(folder / std::to_string(i), inputs[i]);
}

std::string safetensors(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  const auto path = folder / "whole";
  const std::vector<formats::NamedTensor> tensors{{"a.weight", fovea::Tensor::full({2, 3}, 0.5)},
                                                  {"mask", fovea::Tensor::full({3}, 1, fovea::DType::kBool)},
                                                  {"half", fovea::Tensor::full({1}, 2, fovea::DType::kBF16)}};
  formats::save_safetensors(path, tensors, {{"format", "pt"}});
  return formats::read_file(path);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace std::string_literals;
  if (argc != 2) return 2;
  const std::filesystem::path root(argv[1]);
  write(root / "fuzz_csv", {"\0text,label\n\"a, \"\"b\"\"\nc\",x\nplain,y\n"s,
                            "\x08"
                            "1;2.5;2024-02-29\r\n3;4;2023-01-01\r\n"s,
                            "\x04text\tlabel\n\"open\t1\n"s, "\x01one\n\ntwo"s,
                            "\0\xFF\xFEt\0,\0l\0\n\0a\0,\0b\0"s, "\0gr\xFC\xDF,b\n1,2\n"s});
  write(
      root / "fuzz_json_lines",
      {"{\"text\":\"a\\n\\u00fc\",\"n\":1.5e3,\"list\":[1,{\"k\":null},true]}\n\n{\"text\":\"b\",\"more\":-7}\r\n"s,
       "{\"a\":{}}\n{\"a\":\"\xFF\"}"s, "[1]\n"s});
  const std::string whole = safetensors(root / "fuzz_safetensors");
  std::string bare = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}"s;
  bare =
      std::string(1, static_cast<char>(bare.size())) + std::string(7, '\0') + bare + std::string(4, '\x3f');
  write(root / "fuzz_safetensors", {whole, bare, whole.substr(0, whole.size() / 2)});
  const std::vector<std::string_view> texts{"the reader opens the library", "a library of packages"};
  std::vector<std::string> tokenizers{
      "{\"special_tokens\":true}",
      "{\"special\":{\"unk\":0,\"bos\":-1,\"eos\":-1,\"cls\":-1},\"pieces\":[\"<unk>\",\"a\",\"\xC3\xBC\"]}",
      "{\"lowercase\":true,\"special\":{\"unk\":0,\"bos\":1,\"eos\":2,\"cls\":3},"
      "\"pieces\":[\"<unk>\",\"<s>\",\"</s>\",\"<cls>\",\"word\"]}"};
  for (const auto kind : {formats::TokenizerKind::kBytes, formats::TokenizerKind::kCharacters,
                          formats::TokenizerKind::kWords}) {
    tokenizers.push_back(formats::train_tokenizer(texts, {.kind = kind})->to_json());
  }
  write(root / "fuzz_tokenizer", tokenizers);
  write(
      root / "fuzz_recipe",
      {"task = \"text-classification\"\n[model]\nwidth = 128\nlayers = [1, 2]\n# end\nmodel.kind=lstm",
       "[data]\ntext = [\"a\", \"b\"]\nday = 2024-02-29\nrate = 1e-3\nx = \"\"\"\ntwo\nlines\"\"\"\nseed=[1,",
       "a = = 1"});
  std::vector<std::string> calls;  // random bytes are calls of every kind
  fovea::Random random(1);
  for (int i = 0; i < 48; ++i) {
    calls.emplace_back(40 + random.below(360), '\0');
    for (char& byte : calls.back()) byte = static_cast<char>(random.below(256));
  }
  write(root / "fuzz_attention", calls);
  std::filesystem::create_directories(root / "fuzz_checkpoint");
  fovea::fuzz::SmallRun run;
  fovea::train::save_checkpoint(root / "fuzz_checkpoint" / "whole", run.state(), {});
  // The same without its checksum, so that changes reach what lies behind it.
  std::string checkpoint = formats::read_file(root / "fuzz_checkpoint" / "whole");
  checkpoint.replace(checkpoint.find("fovea.crc32c"), 12, "other.crc32c");
  write(root / "fuzz_checkpoint", {checkpoint});
  return 0;
}
