// From a file to token ids: bytes per second of reading, of each tokenizer, and of the checksum.
#include <benchmark/benchmark.h>

#include <cstdlib>

#include "fovea/data/read.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/tokenizer.hpp"

namespace fovea {
namespace {

using formats::TokenizerKind;

const std::vector<std::string>& texts() {
  static const std::vector<std::string> made = [] {
    std::vector<std::string> words;
    Random random(1);
    for (int i = 0; i < 5000; ++i) {
      std::string word;
      for (uint64_t n = 2 + random.below(8); n > 0; --n) word += static_cast<char>('a' + random.below(26));
      words.push_back(word);
    }
    std::vector<std::string> result(10000);
    for (auto& text : result) {
      for (int i = 0; i < 8; ++i) {
        const uint64_t rank = random.below(words.size());
        text += words[std::min(rank, random.below(words.size()))] + ' ';
      }
    }
    return result;
  }();
  return made;
}

void encode(benchmark::State& state, bool sampled) {
  const std::vector<std::string_view> views(texts().begin(), texts().end());
  const auto kind = static_cast<TokenizerKind>(state.range(0));
  const auto tokenizer = formats::train_tokenizer(views, {.kind = kind, .vocab_size = 4000});
  state.SetLabel(to_string(kind));
  for (const auto text : {views[0], views[1]}) {
    const auto again = tokenizer->decode(tokenizer->encode_ids(text));
    if (text.substr(0, text.size() - 1) != again && text != again) std::abort();
  }
  int64_t bytes = 0;
  uint64_t stream = 0;
  for (auto _ : state) {
    for (const auto text : views) {
      bytes += static_cast<int64_t>(text.size());
      if (sampled) {
        benchmark::DoNotOptimize(tokenizer->encode(text, {0.2, {1, stream++}}).ids.data());
      } else {
        benchmark::DoNotOptimize(tokenizer->encode(text).ids.data());
      }
    }
  }
  state.SetBytesProcessed(bytes);
}

void Encode(benchmark::State& state) {
  encode(state, false);
}
BENCHMARK(Encode)->DenseRange(0, 4)->Unit(benchmark::kMillisecond);

void EncodeSampled(benchmark::State& state) {
  encode(state, true);
}
BENCHMARK(EncodeSampled)->DenseRange(3, 4)->Unit(benchmark::kMillisecond);

void ReadCsv(benchmark::State& state) {
  std::string csv = "text,label\n";
  for (const auto& text : texts()) csv += '"' + text + ", \"\"and\"\" more\",x\n";
  for (auto _ : state) {
    if (data::parse_table(csv, "bench.csv").table.rows() != 10000) std::abort();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(csv.size()));
}
BENCHMARK(ReadCsv)->Unit(benchmark::kMillisecond);

void ReadJsonLines(benchmark::State& state) {
  std::string lines;
  for (const auto& text : texts()) lines += "{\"text\":\"" + text + "\\n\",\"label\":\"x\"}\n";
  for (auto _ : state) {
    if (data::parse_table(lines, "bench.jsonl").table.rows() != 10000) std::abort();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(lines.size()));
}
BENCHMARK(ReadJsonLines)->Unit(benchmark::kMillisecond);

void Crc32c(benchmark::State& state) {
  if (formats::crc32c("123456789") != 0xE3069283u) std::abort();
  const std::string bytes(1 << 20, 'x');
  for (auto _ : state) benchmark::DoNotOptimize(formats::crc32c(bytes));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes.size()));
}
BENCHMARK(Crc32c);

}  // namespace
}  // namespace fovea

BENCHMARK_MAIN();
