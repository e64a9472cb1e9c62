// Matrix products of the shapes that training and inference meet. Results are checked against float64 first.
// GFLOP/s is printed per call; compare with the processor's peak (threads × 2 × 16 × 2 × clock with AVX-512).
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "fovea/base/parallel.hpp"
#include "fovea/base/random.hpp"
#include "fovea/kernels/convert.hpp"
#include "fovea/kernels/matmul.hpp"

namespace {

using fovea::kernels::Matmul;

std::vector<float> normals(int64_t n, uint64_t seed) {
  fovea::Random random(seed);
  std::vector<float> out(static_cast<size_t>(n));
  for (float& x : out) x = static_cast<float>(random.normal());
  return out;
}

// Some elements in float64, so that a wrong product is never timed.
void check(const Matmul& s, const std::vector<float>& a, const std::vector<float>& b,
           const std::vector<float>& c, double tolerance) {
  for (int64_t sample = 0; sample < 64; ++sample) {
    const int64_t i = sample * 7919 % s.m, j = sample * 104729 % s.n;
    double want = 0.0;
    for (int64_t p = 0; p < s.k; ++p) {
      want += static_cast<double>(a[static_cast<size_t>(s.transpose_a ? p * s.m + i : i * s.k + p)]) *
              static_cast<double>(b[static_cast<size_t>(s.transpose_b ? j * s.k + p : p * s.n + j)]);
    }
    const double got = static_cast<double>(c[static_cast<size_t>(i * s.n + j)]);
    if (std::abs(got - want) > tolerance * std::sqrt(static_cast<double>(s.k))) {
      std::fprintf(stderr, "wrong product at (%ld, %ld): %g, expected %g\n", static_cast<long>(i),
                   static_cast<long>(j), got, want);
      std::exit(1);
    }
  }
}

template <bool kBf16>
void product(benchmark::State& state) {
  const Matmul s{.m = state.range(0),
                 .n = state.range(1),
                 .k = state.range(2),
                 .transpose_a = state.range(3) == 1,
                 .transpose_b = state.range(3) == 2};
  std::vector<float> a = normals(s.m * s.k, 1), b = normals(s.k * s.n, 2), c(static_cast<size_t>(s.m * s.n));
  std::vector<fovea::BFloat16> a16(a.size()), b16(b.size());
  fovea::kernels::to_bf16(s.m * s.k, a.data(), a16.data());
  fovea::kernels::to_bf16(s.k * s.n, b.data(), b16.data());
  const auto run = [&] {
    if constexpr (kBf16) {
      fovea::kernels::matmul_bf16(s, a16.data(), b16.data(), c.data());
    } else {
      fovea::kernels::matmul(s, a.data(), b.data(), c.data());
    }
  };
  run();
  check(s, a, b, c, kBf16 ? 0.05 : 1e-5);
  for (auto _ : state) run();
  state.counters["GFLOP/s"] = benchmark::Counter(2.0 * static_cast<double>(s.m * s.n * s.k) * 1e-9,
                                                 benchmark::Counter::kIsIterationInvariantRate);
}

void shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"m", "n", "k", "transpose"})->UseRealTime();
  for (const int64_t n : {128, 384, 512}) b->Args({768, n, 128, 0});
  b->Args({768, 128, 512, 0})->Args({128, 512, 768, 1})->Args({512, 128, 768, 1})->Args({768, 128, 512, 2});
  for (const int64_t n : {65, 384, 1152, 1536}) b->Args({2048, n, 384, 0});
  b->Args({384, 1536, 2048, 1})->Args({2048, 384, 1536, 2});
  for (const int64_t m : {1, 4, 16, 32}) b->Args({m, 384, 384, 0})->Args({m, 384, 384, 2});
}
BENCHMARK(product<false>)->Name("matmul/f32")->Apply(shapes);
BENCHMARK(product<true>)->Name("matmul/bf16")->Apply(shapes);

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  std::printf("threads: %d (OMP_NUM_THREADS); transpose: 0 A·B, 1 Aᵀ·B, 2 A·Bᵀ\n", fovea::get_num_threads());
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
