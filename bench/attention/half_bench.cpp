// Attention on bf16 inputs in GFLOP/s (4·L²·D a head, halved when causal; backward 2.5 times that) and as a
// share of this core's peak of products, measured in the same run: vdpbf16ps where the processor has it, else
// float32 multiply-adds of the set in use. Outputs are checked before they are timed: sampled rows against
// float64.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "fovea/attention/half.hpp"
#include "fovea/attention/plan.hpp"
#include "fovea/base/cpu.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea {
namespace {

struct Case {
  int64_t heads, length, width;
  bool causal;
};

// The best of several short runs of twelve independent chains of products.
double peak_gflops() {
#if defined(__x86_64__)
  if (!cpu_features().avx512_bf16) return 0;
  constexpr int kRounds = 200'000;
  double best = 0;
  for (int repeat = 0; repeat < 20; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kRounds; ++i) {
      asm volatile(
          "vdpbf16ps %%zmm0, %%zmm1, %%zmm4\n vdpbf16ps %%zmm0, %%zmm1, %%zmm5\n vdpbf16ps %%zmm0, %%zmm1, "
          "%%zmm6\n"
          "vdpbf16ps %%zmm0, %%zmm1, %%zmm7\n vdpbf16ps %%zmm0, %%zmm1, %%zmm8\n vdpbf16ps %%zmm0, %%zmm1, "
          "%%zmm9\n"
          "vdpbf16ps %%zmm0, %%zmm1, %%zmm10\n vdpbf16ps %%zmm0, %%zmm1, %%zmm11\n vdpbf16ps %%zmm0, %%zmm1, "
          "%%zmm12\n"
          "vdpbf16ps %%zmm0, %%zmm1, %%zmm13\n vdpbf16ps %%zmm0, %%zmm1, %%zmm14\n vdpbf16ps %%zmm0, %%zmm1, "
          "%%zmm15\n" ::
              : "xmm0", "xmm1", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
                "xmm13", "xmm14", "xmm15");
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, 12.0 * 64.0 * kRounds / seconds * 1e-9);
  }
  return best;
#else
  return 0;
#endif
}

class Setup {
 public:
  Setup(const Case& c, DType dtype) : c_(c) {
    const int64_t columns = 3 * c.heads * c.width;
    qkv_ = random_tensor({c.length, columns}).to(dtype);
    dout_ = random_tensor({c.length, c.heads, c.width}).to(dtype);
    dqkv_ = Tensor::zeros({c.length, columns}, dtype);
    out_ = Tensor::zeros({c.length, c.heads, c.width}, dtype);
    softmax_rows_ = Tensor::zeros({c.length, c.heads, 2});
    spec_.causal = c.causal;
    inputs_ = {
        part<const BFloat16>(qkv_, 0), part<const BFloat16>(qkv_, 1), part<const BFloat16>(qkv_, 2), {}};
    inputs_.rest.q_offsets = inputs_.rest.k_offsets = Offsets::single(c.length);
    gradients_ = {part<BFloat16>(dqkv_, 0), part<BFloat16>(dqkv_, 1), part<BFloat16>(dqkv_, 2), {}};
  }
  void forward() { attention_forward(inputs_, spec_, heads<BFloat16>(out_), {nullptr, saved()}); }
  void backward() {
    attention_backward<BFloat16>(inputs_, spec_, heads<const BFloat16>(out_), saved(),
                                 heads<const BFloat16>(dout_), gradients_);
  }
  double flops() const {
    const auto d = [](int64_t x) { return static_cast<double>(x); };
    return 4.0 * d(c_.heads) * d(c_.length) * d(c_.length) * d(c_.width) * (c_.causal ? 0.5 : 1.0);
  }
  void check() {
    forward();
    const std::vector<int64_t> rows{0, c_.length / 3, c_.length - 1};
    const Ragged weights = attention_rows(inputs_, spec_, rows);
    for (size_t n = 0; n < rows.size(); ++n) {
      for (int64_t h = 0; h < c_.heads; ++h) {
        double sum = 0;
        for (int64_t j = 0; j < c_.length; ++j) {
          const int64_t at = (weights.offsets.begin(static_cast<int64_t>(n)) + j) * c_.heads + h;
          const BFloat16 value = inputs_.v.data[j * inputs_.v.stride(0) + h * c_.width];
          sum +=
              static_cast<double>(weights.tokens.data()[at]) * static_cast<double>(static_cast<float>(value));
        }
        const auto got = static_cast<float>(out_.data<BFloat16>()[(rows[n] * c_.heads + h) * c_.width]);
        if (std::abs(sum - static_cast<double>(got)) >
            0x1p-8) {  // values are at most 1: two roundings to bf16
          fmt::print(stderr, "wrong result: row {} head {}: {} instead of {}\n", rows[n], h, got, sum);
          std::exit(1);
        }
      }
    }
  }

 private:
  SoftmaxRow* saved() { return reinterpret_cast<SoftmaxRow*>(softmax_rows_.data()); }
  static Tensor random_tensor(const Shape& shape) {
    Tensor x = Tensor::empty(shape);
    Random random(7);
    for (float& value : x.span()) value = static_cast<float>(random.uniform() * 2 - 1);
    return x;
  }
  template <class T>
  HeadsView<T> part(Tensor& x, int64_t which) {
    const int64_t columns = c_.heads * c_.width;
    return heads_of_columns<T>(x.data<std::remove_const_t<T>>(), c_.length, 3 * columns, which * columns,
                               c_.heads, c_.width);
  }
  template <class T>
  HeadsView<T> heads(Tensor& x) {
    return contiguous_view<T, 3>(x.data<std::remove_const_t<T>>(), {c_.length, c_.heads, c_.width});
  }

  Case c_;
  Tensor qkv_, dqkv_, out_, dout_, softmax_rows_;
  AttentionSpec spec_;
  HalfAttentionInputs<BFloat16> inputs_;
  HalfAttentionGradients<BFloat16> gradients_;
};

void run(benchmark::State& state, const Case& c, bool backward, int threads, double peak) {
  set_num_threads(threads);
  Setup setup(c, DType::kBF16);
  setup.check();
  if (backward) setup.backward();
  double work = 0;
  for (auto _ : state) {
    if (backward) {
      setup.backward();
    } else {
      setup.forward();
    }
    work += setup.flops() * (backward ? 2.5 : 1.0);
  }
  using benchmark::Counter;
  state.counters["GFLOPS"] = Counter(work * 1e-9, Counter::kIsRate);
  if (peak > 0) state.counters["of_peak"] = Counter(work * 1e-9 / (peak * threads), Counter::kIsRate);
}

void register_all(double peak) {
  for (const int threads : {1, 2}) {
    for (const int64_t width : {64, 128}) {
      for (const int64_t length : {128, 1024, 4096}) {
        for (const bool causal : {false, true}) {
          for (const bool backward : {false, true}) {
            const Case c{length >= 4096 ? 2 : 6, length, width, causal};
            const std::string name =
                fmt::format("bf16/{}/L{}/D{}/{}/threads{}", backward ? "backward" : "forward", length, width,
                            causal ? "causal" : "dense", threads);
            auto* registered = benchmark::RegisterBenchmark(
                name.c_str(), [=](benchmark::State& state) { run(state, c, backward, threads, peak); });
            registered->Unit(benchmark::kMicrosecond);
            if (threads > 1) registered->UseRealTime();
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace fovea

int main(int argc, char** argv) {
  const double peak = fovea::peak_gflops();
  fmt::print("peak of vdpbf16ps: {:.0f} GFLOP/s a core\n", peak);
  for (const fovea::PlannedKernel& kernel : fovea::attention_plan({.dtype = fovea::DType::kBF16})) {
    fmt::print("{}: {}{}\n", kernel.name, kernel.serves ? "" : "declines, ", kernel.reason);
  }
  fovea::register_all(peak);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
