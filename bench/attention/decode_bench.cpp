// Decoding on caches: time, bytes of keys and values read in a second, and the share of this machine's read
// bandwidth, which is measured in turns with the calls and with as many threads: shared machines change from
// one second to the next. Outputs are checked first against a sum in float64.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <string_view>
#include <vector>

#include "fovea/attention/decode.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// One read of memory far larger than the caches of the processor, in bytes a second.
double read_bandwidth() {
  constexpr int64_t kFloats = int64_t{1} << 26;  // 256 MB
  static const Tensor memory = Tensor::full({kFloats}, 1.0);
  std::vector<float> sums(64);
  const double start = now();
  parallel_tasks(64, true, [&](int64_t task) {
    const float* x = memory.data() + task * (kFloats / 64);
    float lanes[64] = {};  // four vectors, which compilers keep in registers
    for (int64_t i = 0; i < kFloats / 64; i += 64) {
      for (int64_t c = 0; c < 64; ++c) lanes[c] += x[i + c];
    }
    for (const float lane : lanes) sums[static_cast<size_t>(task)] += lane;
  });
  const double seconds = now() - start;
  float total = 0;
  for (const float sum : sums) total += sum;
  if (total != static_cast<float>(kFloats)) std::exit(1);
  return static_cast<double>(kFloats) * 4.0 / seconds;
}

struct Case {
  int64_t queries, keys, heads, kv_heads, width;
  CacheType type;
  Precision precision = Precision::kStrict;
};

KvCache fill(const Case& c) {
  KvCache cache({.kv_heads = c.kv_heads, .width = c.width, .value_width = c.width, .type = c.type});
  Random random(3);
  Tensor k = Tensor::empty({1024, c.kv_heads, c.width}), v = Tensor::empty({1024, c.kv_heads, c.width});
  for (int64_t done = 0; done < c.keys; done += 1024) {
    const int64_t n = std::min<int64_t>(1024, c.keys - done);
    for (float& x : k.span()) x = static_cast<float>(random.uniform() * 2 - 1);
    for (float& x : v.span()) x = static_cast<float>(random.uniform() * 2 - 1);
    const auto view = [&](const Tensor& x) {
      return contiguous_view<const float, 3>(x.data(), {n, c.kv_heads, c.width});
    };
    cache.append(view(k), view(v));
  }
  return cache;
}

// One row of one head in float64.
void check(const Case& c, const KvCache& cache, const Tensor& q, const Tensor& out) {
  const auto width = static_cast<size_t>(c.width);
  const int64_t head = c.heads - 1, row = (c.queries - 1) * c.heads + head,
                kv = head / (c.heads / c.kv_heads);
  std::vector<float> k(static_cast<size_t>(c.kv_heads) * width), v(k.size());
  std::vector<double> sum(width);
  double total = 0;
  for (int64_t j = 0; j < c.keys; ++j) {
    cache.read(j, k.data(), v.data());
    double score = 0;
    for (size_t d = 0; d < width; ++d) {
      score += static_cast<double>(q.data()[row * c.width + static_cast<int64_t>(d)]) *
               static_cast<double>(k[static_cast<size_t>(kv) * width + d]);
    }
    const double weight = std::exp(score / std::sqrt(static_cast<double>(c.width)));
    total += weight;
    for (size_t d = 0; d < width; ++d)
      sum[d] += weight * static_cast<double>(v[static_cast<size_t>(kv) * width + d]);
  }
  for (size_t d = 0; d < width; ++d) {
    const float got = out.data()[row * c.width + static_cast<int64_t>(d)];
    // Means of some 4,000 numbers below 1 with weights off by 2^-8, half of them either way; int8's by far
    // less.
    const double tolerance = c.precision == Precision::kStrict ? 1e-5 : 1e-4;
    if (std::abs(static_cast<double>(got) - sum[d] / total) > tolerance) {
      fmt::print(stderr, "wrong result: column {}: {} instead of {}\n", d, got, sum[d] / total);
      std::exit(1);
    }
  }
}

// Calls for 0.6 seconds, in turns with `between`, and tells of each how long it took; the first is checked.
void time_calls(
    const Case& c, const std::function<void(double seconds)>& took,
    const std::function<void()>& between = [] {}) {
  const KvCache cache = fill(c);
  const KvCache* pointer = &cache;
  Tensor q = Tensor::empty({c.queries, c.heads, c.width}), out = Tensor::zeros({c.queries, c.heads, c.width});
  Random random(9);
  for (float& x : q.span()) x = static_cast<float>(random.uniform() * 2 - 1);
  DecodeInputs inputs;
  inputs.q = contiguous_view<const float, 3>(q.data(), {c.queries, c.heads, c.width});
  inputs.q_offsets = Offsets::single(c.queries);
  inputs.caches = std::span<const KvCache* const>(&pointer, 1);
  const auto call = [&] {
    attention_decode(inputs, {.causal = true, .precision = c.precision},
                     contiguous_view<float, 3>(out.data(), {c.queries, c.heads, c.width}), nullptr);
  };
  call();
  check(c, cache, q, out);
  int64_t calls = 0;
  for (const double until = now() + 0.6; now() < until || calls < 5;) {
    between();
    for (const double turn = now() + 0.02; now() < turn; ++calls) {
      const double start = now();
      call();
      took(now() - start);
    }
  }
}

void run(const Case& c, int threads) {
  set_num_threads(threads);
  std::vector<double> seconds;
  double bandwidth = 0;
  time_calls(
      c, [&](double x) { seconds.push_back(x); }, [&] { bandwidth = std::max(bandwidth, read_bandwidth()); });
  std::sort(seconds.begin(), seconds.end());
  const double element = c.type == CacheType::kF32 ? 4 : c.type == CacheType::kInt8 ? 1 : 2;
  const double scales = c.type == CacheType::kInt8 ? 8 : 0;
  const double bytes =
      static_cast<double>(c.keys * c.kv_heads) * (2.0 * static_cast<double>(c.width) * element + scales);
  const double best = seconds.front(), median = seconds[seconds.size() / 2];
  fmt::print(
      "{} thread{} | {:>8} | {} quer{} | {:>6} keys | {}/{} heads of {} | {:8.1f} us ({:8.1f}) | {:5.1f} "
      "of {:5.1f} GB/s | {:3.0f} %{}\n",
      threads, threads == 1 ? " " : "s", to_string(c.type), c.queries, c.queries == 1 ? "y  " : "ies", c.keys,
      c.heads, c.kv_heads, c.width, best * 1e6, median * 1e6, bytes / best * 1e-9, bandwidth * 1e-9,
      100 * bytes / best / bandwidth, c.precision == Precision::kFast ? " | fast" : "");
}

// Nanoseconds of one thread for a key and its value that lie in the second-level cache.
void run_in_cache(CacheType type, int64_t queries, Precision precision) {
  const Case c{queries, 1024, 1, 1, 128, type, precision};
  double best = 1e9;
  time_calls(c, [&](double seconds) { best = std::min(best, seconds); });
  fmt::print("in cache | {:>8} | {} rows of 128 | {:5.1f} ns a key{}\n", to_string(type), queries,
             best / static_cast<double>(c.keys) * 1e9, precision == Precision::kFast ? " | fast" : "");
}

}  // namespace
}  // namespace fovea

// decode_bench [THREADS [TYPE]]
int main(int argc, char** argv) {
  using namespace fovea;
  const int only = argc > 1 ? std::atoi(argv[1]) : 0;
  fmt::print(
      "best time (median), bytes of keys and values a second of the read bandwidth measured in turns, "
      "share\n");
  for (const int threads : {1, 2}) {
    if (only != 0 && only != threads) continue;
    for (const CacheType type : {CacheType::kF32, CacheType::kBF16, CacheType::kF16, CacheType::kInt8}) {
      if (argc > 2 && to_string(type) != std::string_view(argv[2])) continue;
      for (const int64_t keys : {4096, 131072}) run({1, keys, 8, 8, 128, type}, threads);
      run({1, 131072, 8, 8, 64, type}, threads);
      run({1, 131072, 8, 2, 128, type}, threads);
      run({8, 131072, 8, 8, 128, type}, threads);
      if (type != CacheType::kBF16 && type != CacheType::kInt8) continue;
      run({1, 131072, 8, 2, 128, type, Precision::kFast}, threads);
      run({8, 131072, 8, 8, 128, type, Precision::kFast}, threads);
    }
  }
  set_num_threads(1);
  for (const CacheType type : {CacheType::kF32, CacheType::kBF16, CacheType::kInt8}) {
    if (argc > 2 && to_string(type) != std::string_view(argv[2])) continue;
    for (const int64_t queries : {1, 4, 8}) run_in_cache(type, queries, Precision::kStrict);
    if (type == CacheType::kF32) continue;
    for (const int64_t queries : {4, 8}) run_in_cache(type, queries, Precision::kFast);
  }
  return 0;
}
