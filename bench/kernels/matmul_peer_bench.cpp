// Float32 products beside oneDNN's dnnl_sgemm, in alternation, over the shapes that models meet: the ratio of
// their times for each class of shapes, its geometric mean and its worst. matmul_peer_bench [threads] [-v]
#include <dnnl.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "bench/clock.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/base/random.hpp"
#include "fovea/kernels/matmul.hpp"

namespace {

using fovea::kernels::Matmul;

std::vector<float> normals(int64_t n, uint64_t seed) {
  fovea::Random random(seed);
  std::vector<float> out(static_cast<size_t>(n));
  for (float& x : out) x = static_cast<float>(random.normal());
  return out;
}

void peer(const Matmul& s, const float* a, const float* b, float* c) {
  dnnl_sgemm(s.transpose_a ? 'T' : 'N', s.transpose_b ? 'T' : 'N', s.m, s.n, s.k, 1.0f, a,
             s.transpose_a ? s.m : s.k, b, s.transpose_b ? s.k : s.n, 0.0f, c, s.n);
}

// On one thread the time that the processor spent, else what passed on the wall.
double now() {
  if (fovea::get_num_threads() == 1) return fovea::bench::processor_seconds();
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <class Body>
double seconds(int64_t calls, Body&& body) {
  const double start = now();
  for (int64_t i = 0; i < calls; ++i) body();
  return (now() - start) / static_cast<double>(calls);
}

// The least time of each in alternation: what neighbours take from a shared machine only adds.
struct Times {
  double ours = 1e9, theirs = 1e9;
};

Times measure(const Matmul& s) {
  const std::vector<float> a = normals(s.m * s.k, 1), b = normals(s.k * s.n, 2);
  std::vector<float> c(static_cast<size_t>(s.m * s.n)), want(c.size());
  peer(s, a.data(), b.data(), want.data());
  fovea::kernels::matmul(s, a.data(), b.data(), c.data());
  for (size_t i = 0; i < c.size(); ++i) {
    if (!(std::abs(c[i] - want[i]) <= 2e-5f * static_cast<float>(s.k))) {
      std::fprintf(stderr, "wrong product at %zu: %g, expected %g\n", i, c[i], want[i]);
      std::exit(1);
    }
  }
  const double work = 2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
  const int64_t calls = std::max<int64_t>(1, static_cast<int64_t>(1e7 / (work + 1e4)));
  Times best;
  for (int round = 0; round < 11; ++round) {
    best.ours =
        std::min(best.ours, seconds(calls, [&] { fovea::kernels::matmul(s, a.data(), b.data(), c.data()); }));
    best.theirs = std::min(best.theirs, seconds(calls, [&] { peer(s, a.data(), b.data(), want.data()); }));
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  const bool verbose = argc > 2 && std::strcmp(argv[2], "-v") == 0;
  fovea::set_num_threads(threads);
  omp_set_num_threads(threads);
  const char* kinds[] = {"A·B", "Aᵀ·B", "A·Bᵀ", "Aᵀ·Bᵀ"};
  if (argc > 6) {  // one shape: threads -v m n k kind
    const int kind = std::atoi(argv[6]);
    const Matmul s{.m = std::atol(argv[3]),
                   .n = std::atol(argv[4]),
                   .k = std::atol(argv[5]),
                   .transpose_a = kind % 2 == 1,
                   .transpose_b = kind >= 2};
    const Times t = measure(s);
    const double gflop = 2e-9 * static_cast<double>(s.m) * static_cast<double>(s.n * s.k);
    std::printf("%s m %ld n %ld k %ld: ours %.1f, oneDNN %.1f GFLOP/s, %.2f\n", kinds[kind], s.m, s.n, s.k,
                gflop / t.ours, gflop / t.theirs, t.theirs / t.ours);
    return 0;
  }
  double all = 0.0;
  int count = 0;
  for (int kind = 0; kind < 4; ++kind) {
    for (const int64_t m : {1, 2, 4, 8, 16, 32, 64, 256, 768, 2048}) {
      double sum = 0.0, worst = 1e9;
      int shapes = 0;
      Matmul at;
      for (const int64_t n : {32, 65, 128, 384, 1024, 2048}) {
        for (const int64_t k : {32, 64, 128, 384, 1024, 2048}) {
          if (m * n * k > int64_t{1} << 29) continue;
          const Matmul s{.m = m, .n = n, .k = k, .transpose_a = kind % 2 == 1, .transpose_b = kind >= 2};
          const Times t = measure(s);
          const double ratio = t.theirs / t.ours;
          if (verbose) {
            const double gflop = 2e-9 * static_cast<double>(m) * static_cast<double>(n * k);
            std::printf("  %s m %ld n %ld k %ld: ours %.1f, oneDNN %.1f GFLOP/s, %.2f\n", kinds[kind], m, n,
                        k, gflop / t.ours, gflop / t.theirs, ratio);
          }
          sum += std::log(ratio);
          ++shapes;
          if (ratio < worst) worst = ratio, at = s;
        }
      }
      std::printf("%-7s m %4ld: oneDNN's time / ours %.2f, worst %.2f at n %ld k %ld\n", kinds[kind], m,
                  std::exp(sum / shapes), worst, at.n, at.k);
      std::fflush(stdout);
      all += sum;
      count += shapes;
    }
  }
  std::printf("all %d shapes, %d threads: %.3f\n", count, threads, std::exp(all / count));
  return 0;
}
