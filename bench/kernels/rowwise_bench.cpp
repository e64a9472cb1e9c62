// The kernels that are bound by memory or by an exponential, at a training step's sizes. GB/s counts each
// array that a kernel reads or writes once. The first value of each is compared with its definition before it
// is timed.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "fovea/base/parallel.hpp"
#include "fovea/base/random.hpp"
#include "fovea/kernels/dropout.hpp"
#include "fovea/kernels/elementwise.hpp"
#include "fovea/kernels/norm.hpp"
#include "fovea/kernels/optimizer.hpp"
#include "fovea/kernels/reduce.hpp"
#include "fovea/kernels/rnn.hpp"
#include "fovea/kernels/softmax.hpp"

namespace {

using namespace fovea::kernels;

constexpr int64_t kRows = 2048;
constexpr int64_t kCols = 384;
constexpr int64_t kCount = kRows * kCols;

std::vector<float> normals(int64_t n, uint64_t seed) {
  fovea::Random random(seed);
  std::vector<float> out(static_cast<size_t>(n));
  for (float& x : out) x = static_cast<float>(random.normal());
  return out;
}

struct Arrays {
  std::vector<float> x = normals(kCount, 1), y = normals(kCount, 2), z = normals(kCount, 3),
                     w = std::vector<float>(static_cast<size_t>(kCount), 1.0f);
  std::vector<float> gamma = normals(kCols, 5), beta = normals(kCols, 6), mean = normals(kRows, 7),
                     rstd = normals(kRows, 8), out = std::vector<float>(static_cast<size_t>(kCount));
  std::vector<int64_t> targets = std::vector<int64_t>(static_cast<size_t>(kRows), 5);
};

void expect(bool ok, const char* name) {
  if (ok) return;
  std::fprintf(stderr, "%s gives a wrong result\n", name);
  std::exit(1);
}

void add_case(const char* name, int arrays, std::function<void(Arrays&)> run,
              std::function<bool(const Arrays&)> right) {
  benchmark::RegisterBenchmark(name, [=](benchmark::State& state) {
    Arrays a;
    run(a);
    expect(right(a), name);
    for (auto _ : state) run(a);
    state.counters["GB/s"] =
        benchmark::Counter(static_cast<double>(arrays) * static_cast<double>(kCount) * 4e-9,
                           benchmark::Counter::kIsIterationInvariantRate);
  })->UseRealTime();
}

bool near(double got, double want) {
  return std::abs(got - want) <= 1e-5 * (1.0 + std::abs(want));
}

void register_all() {
  add_case(
      "add", 3, [](Arrays& a) { add(kCount, a.x.data(), a.y.data(), a.out.data()); },
      [](const Arrays& a) { return a.out[0] == a.x[0] + a.y[0]; });
  add_case(
      "exp", 2, [](Arrays& a) { exp(kCount, a.x.data(), a.out.data()); },
      [](const Arrays& a) { return near(a.out[0], std::exp(a.x[0])); });
  add_case(
      "gelu forward", 2,
      [](Arrays& a) { activation_forward(Activation::kGelu, kCount, a.x.data(), a.out.data()); },
      [](const Arrays& a) {
        return near(a.out[0], a.x[0] * 0.5 * std::erfc(-static_cast<double>(a.x[0]) / std::sqrt(2.0)));
      });
  add_case(
      "gelu backward", 3,
      [](Arrays& a) {
        activation_backward(Activation::kGelu, kCount, a.x.data(), nullptr, a.y.data(), a.out.data());
      },
      [](const Arrays& a) { return std::isfinite(a.out[0]); });
  add_case(
      "layer norm forward", 2,
      [](Arrays& a) {
        layer_norm_forward(kRows, kCols, a.x.data(), a.gamma.data(), a.beta.data(), 1e-5f, a.out.data(),
                           a.mean.data(), a.rstd.data());
      },
      [](const Arrays& a) {
        return near(a.out[0], (a.x[0] - a.mean[0]) * a.rstd[0] * a.gamma[0] + a.beta[0]);
      });
  add_case(
      "layer norm backward", 3,
      [](Arrays& a) {
        layer_norm_backward(kRows, kCols, a.x.data(), a.gamma.data(), a.mean.data(), a.rstd.data(),
                            a.y.data(), a.out.data(), a.gamma.data(), a.beta.data());
      },
      [](const Arrays& a) { return std::isfinite(a.out[0]); });
  add_case(
      "softmax", 2, [](Arrays& a) { softmax(kRows, kCols, a.x.data(), a.out.data()); },
      [](const Arrays& a) { return near(sum(kCols, a.out.data()), 1.0); });
  add_case(
      "cross entropy", 2,
      [](Arrays& a) {
        cross_entropy_forward_backward({.rows = kRows, .classes = kCols}, a.x.data(), a.targets.data(), 1.0f,
                                       a.mean.data(), a.out.data());
      },
      [](const Arrays& a) { return std::abs(sum(kCols, a.out.data())) < 1e-5; });
  add_case(
      "dropout", 2,
      [](Arrays& a) {
        dropout(kCount, 0.1f, {1, 2}, a.x.data(), a.out.data());
      },
      [](const Arrays& a) { return a.out[0] == 0.0f || near(a.out[0], a.x[0] / 0.9); });
  add_case(
      "column sums", 1, [](Arrays& a) { column_sums(kRows, kCols, a.x.data(), a.out.data()); },
      [](const Arrays& a) {
        double want = 0.0;
        for (int64_t r = 0; r < kRows; ++r) want += static_cast<double>(a.x[static_cast<size_t>(r * kCols)]);
        return near(a.out[0], want);
      });
  add_case(
      "squared norm", 1, [](Arrays& a) { a.out[0] = static_cast<float>(squared_norm(kCount, a.x.data())); },
      [](const Arrays& a) { return near(a.out[0], dot(kCount, a.x.data(), a.x.data())); });
  add_case(
      "adamw", 7,
      [](Arrays& a) {
        const OptimizerTensor t{kCount, a.x.data(), a.y.data(), a.z.data(), a.w.data(), nullptr, 0.1f, 1.0f};
        adam_step({.learning_rate = 1e-9f}, {&t, 1});
      },
      [](const Arrays& a) {
        return near(a.z[0], 0.9 * normals(1, 3)[0] + 0.1 * static_cast<double>(a.y[0]));
      });
  add_case(
      "lstm cell", 2,
      [](Arrays& a) { lstm_cell_forward(kRows / 4, kCols, a.x.data(), nullptr, a.out.data(), a.z.data()); },
      [](const Arrays& a) { return std::abs(a.z[0]) <= 1.0f; });
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  std::printf("threads: %d; arrays of %ld x %ld floats\n", fovea::get_num_threads(), static_cast<long>(kRows),
              static_cast<long>(kCols));
  register_all();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
