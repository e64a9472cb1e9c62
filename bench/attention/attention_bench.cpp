// Attention forward and backward in GFLOP/s (4·L²·D a head, halved when causal; backward 2.5 times that), and
// as a share of the peak of multiply-adds, measured in the same run.
// Results are checked before they are timed: sampled rows against the plain definition in float64.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>

#include "fma_peak.hpp"
#include "fovea/attention/attention.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea {
namespace {

struct Case {
  int64_t sequences, length, heads, width;
  bool causal;
  bool batched = false;  // heads lie apart, [B, H, L, D]; else interleaved in q|k|v rows, as layers hold them
  Score score = Score::kScaledDot;
};

class Setup {
 public:
  explicit Setup(const Case& c) : c_(c), offsets_(Offsets::uniform(c.sequences, c.length)) {
    const int64_t tokens = c.sequences * c.length, columns = 3 * c.heads * c.width;
    qkv_ = Tensor::empty({tokens, columns});
    dqkv_ = Tensor::empty({tokens, columns});
    out_ = Tensor::empty({tokens, c.heads, c.width});
    dout_ = Tensor::empty({tokens, c.heads, c.width});
    softmax_rows_ = Tensor::empty({tokens, c.heads, 2});
    Random random(7);
    for (float& x : qkv_.span()) x = static_cast<float>(random.uniform() * 2 - 1);
    for (float& x : dout_.span()) x = static_cast<float>(random.uniform() * 2 - 1);
    spec_.causal = c.causal;
    spec_.score = c.score;
    spec_.scale = 1.0f / std::sqrt(static_cast<float>(c.width));
    inputs_.q = part<const float>(qkv_.data(), 0);
    inputs_.k = part<const float>(qkv_.data(), 1);
    inputs_.v = part<const float>(qkv_.data(), 2);
    inputs_.q_offsets = inputs_.k_offsets = offsets_;
    gradients_ = {part<float>(dqkv_.data(), 0), part<float>(dqkv_.data(), 1), part<float>(dqkv_.data(), 2)};
  }
  AttentionSpec& spec() { return spec_; }
  AttentionInputs& inputs() { return inputs_; }
  AttentionGradients& gradients() { return gradients_; }

  void forward(const Observers& observers = {}, Insight* seen = nullptr) {
    attention_forward(inputs_, spec_, heads<float>(out_.data()), {nullptr, saved()}, observers, seen);
  }
  void backward() {
    attention_backward(inputs_, spec_, heads<const float>(out_.data()), saved(),
                       heads<const float>(dout_.data()), gradients_);
  }
  double flops() const {
    const auto d = [](int64_t x) { return static_cast<double>(x); };
    return 4.0 * d(c_.sequences) * d(c_.heads) * d(c_.length) * d(c_.length) * d(c_.width) *
           (c_.causal ? 0.5 : 1.0);
  }
  // Σ_j weight_j·v_j of sampled rows, against out.
  void check() {
    forward();
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < 8; ++i) rows.push_back(i * 7919 % offsets_.total());
    const Ragged weights = attention_rows(inputs_, spec_, rows);
    for (size_t n = 0; n < rows.size(); ++n) {
      const int64_t sequence = rows[n] / c_.length;
      for (int64_t h = 0; h < c_.heads; ++h) {
        double sum = 0;
        for (int64_t j = 0; j < c_.length; ++j) {
          const float w =
              weights.tokens.data()[(weights.offsets.begin(static_cast<int64_t>(n)) + j) * c_.heads + h];
          sum += static_cast<double>(w) * static_cast<double>(element(inputs_.v, sequence, j, h));
        }
        const float got = element(heads<const float>(out_.data()), sequence, rows[n] % c_.length, h);
        if (std::abs(sum - static_cast<double>(got)) > 1e-5) {
          fmt::print(stderr, "wrong result: row {} head {}: {} instead of {}\n", rows[n], h, got, sum);
          std::exit(1);
        }
      }
    }
  }

 private:
  SoftmaxRow* saved() { return reinterpret_cast<SoftmaxRow*>(softmax_rows_.data()); }
  // Of the first of the columns of token j of a sequence.
  float element(const HeadsView<const float>& x, int64_t sequence, int64_t j, int64_t h) const {
    const int64_t start = c_.batched ? sequence * x.sequence_stride : sequence * c_.length * x.stride(0);
    return x.data[start + j * x.stride(0) + h * x.stride(1)];
  }
  template <class T>
  HeadsView<T> part(T* data, int64_t which) {
    const int64_t columns = c_.heads * c_.width;
    if (c_.batched) return heads<T>(data + which * offsets_.total() * columns);
    return heads_of_columns<T>(data, offsets_.total(), 3 * columns, which * columns, c_.heads, c_.width);
  }
  template <class T>
  HeadsView<T> heads(T* data) {
    if (c_.batched) return heads_of_batch<T>(data, c_.sequences, c_.heads, c_.length, c_.width);
    return contiguous_view<T, 3>(data, {offsets_.total(), c_.heads, c_.width});
  }

  Case c_;
  Offsets offsets_;
  Tensor qkv_, dqkv_, out_, dout_, softmax_rows_;
  AttentionSpec spec_;
  AttentionInputs inputs_;
  AttentionGradients gradients_;
};

enum class Pass { kForward, kBackward, kBoth };
enum class Option { kNone, kDropout, kAlibi, kBias, kMask, kBlocks, kSoftcap, kWindow };

// What an option points into. Bias and mask are of all scores, shared by sequences and heads; the mask hides
// a random tenth; the block mask is Big Bird's, and flops count its live pairs.
struct OptionArrays {
  std::vector<float> slopes, bias, dbias;
  std::vector<uint8_t> mask;
  std::vector<BlockMask> blocks;

  OptionArrays(Option option, const Case& c, AttentionInputs& inputs, AttentionSpec& spec) {
    Random random(11);
    const std::array<int64_t, 4> held{1, 1, c.length, c.length},
        dims{c.sequences, c.heads, c.length, c.length};
    const auto size = static_cast<size_t>(c.length * c.length);
    if (option == Option::kDropout) spec.dropout = 0.1f;
    if (option == Option::kSoftcap) spec.softcap = 30.0f;
    if (option == Option::kWindow) spec.window_left = 256, spec.window_right = 0;
    if (option == Option::kAlibi) {
      slopes.assign(static_cast<size_t>(c.heads), 0.1f);
      inputs.alibi_slopes = slopes;
    }
    if (option == Option::kBias) {
      for (size_t i = 0; i < size; ++i) bias.push_back(random.uniform());
      dbias.resize(size);
      inputs.bias = broadcast_scores<const float>(bias.data(), held, dims);
    }
    if (option == Option::kMask) {
      for (size_t i = 0; i < size; ++i) mask.push_back(random.below(10) == 0 ? 0 : 1);
      inputs.mask = broadcast_scores<const uint8_t>(mask.data(), held, dims);
    }
    if (option == Option::kBlocks) {
      blocks.push_back(big_bird(c.length, 64, 1, 3, 2, {7, 0}));
      inputs.blocks = blocks;
    }
  }
};

void run(benchmark::State& state, const Case& c, Pass pass, int threads, Observers observers, Option option,
         double peak) {
  set_num_threads(threads);
  Setup setup(c);
  OptionArrays arrays(option, c, setup.inputs(), setup.spec());
  if (option == Option::kBias)
    setup.gradients().dbias = {arrays.dbias.data(), setup.inputs().bias.dims, setup.inputs().bias.strides};
  const double pairs = static_cast<double>(c.length * c.length);
  double live = 1.0;
  if (!arrays.blocks.empty()) live = static_cast<double>(arrays.blocks[0].pairs()) / pairs;
  if (option == Option::kWindow)  // a query sees 257 keys, the first ones fewer
    live = static_cast<double>(257 * c.length - 256 * 257 / 2) / pairs;
  if (option != Option::kDropout) setup.check();
  setup.forward();
  Insight seen;
  double work = 0;
  for (auto _ : state) {
    if (pass != Pass::kBackward) setup.forward(observers, observers.any() ? &seen : nullptr);
    if (pass != Pass::kForward) setup.backward();
    work += live * setup.flops() * (pass == Pass::kForward ? 1.0 : pass == Pass::kBackward ? 2.5 : 3.5);
  }
  state.counters["GFLOPS"] = benchmark::Counter(work * 1e-9, benchmark::Counter::kIsRate);
  if (peak > 0) {
    state.counters["of_peak"] =
        benchmark::Counter(work * 1e-9 / (peak * threads), benchmark::Counter::kIsRate);
  }
}

// Set once, before anything is registered.
double peak_of_a_core = 0;

void add(const Case& c, Pass pass, int threads, Observers observers = {}, const char* extra = "",
         Option option = Option::kNone) {
  const char* names[] = {"forward", "backward", "both"};
  const std::string name =
      fmt::format("{}{}{}/L{}/D{}/{}/threads{}", names[static_cast<int>(pass)], extra,
                  c.batched ? "/batched" : "", c.length, c.width, c.causal ? "causal" : "dense", threads);
  auto* registered = benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
    run(state, c, pass, threads, observers, option, peak_of_a_core);
  });
  registered->Unit(benchmark::kMicrosecond);
  if (threads > 1)
    registered->UseRealTime();  // one thread is timed by its own clock, whatever else the machine does
}

void register_all() {
  for (const int threads : {1, 2}) {
    for (const int64_t width : {32, 64, 128}) {
      for (const int64_t length : {16, 64, 128, 256, 1024, 4096}) {
        if (length == 4096 && width != 64) continue;
        for (const bool causal : {false, true}) {
          const int64_t sequences = std::max<int64_t>(1, 512 / length);
          const Case c{sequences, length, length >= 4096 ? 2 : 6, width, causal};
          for (const Pass pass : {Pass::kForward, Pass::kBackward}) add(c, pass, threads);
        }
      }
    }
  }
  for (const int threads : {1, 2}) {  // more than the second-level caches hold, as PyTorch's users call it
    for (const bool causal : {false, true}) {
      for (const Pass pass : {Pass::kForward, Pass::kBackward}) {
        add({64, 16, 8, 32, causal, true}, pass, threads);
        add({32, 64, 8, 64, causal, true}, pass, threads);
        add({32, 128, 8, 64, causal, true}, pass, threads);
        add({16, 256, 8, 64, causal, true}, pass, threads);
      }
    }
  }
  const Case c{1, 1024, 6, 64, false};
  add(c, Pass::kForward, 1, observe::entropy | observe::max, "+statistics");
  add(c, Pass::kForward, 1, observe::top_k(8), "+top8");
  for (const int64_t k : {8, 64, 128, 256})
    add({1, 4096, 2, 64, false}, Pass::kForward, 1, observe::top_k(k), fmt::format("+top{}", k).c_str());
  add(c, Pass::kForward, 1, observe::effective_keys, "+effective_keys");
  add(c, Pass::kForward, 1, observe::distance, "+distance");
  add(c, Pass::kForward, 1, observe::block_mass, "+block_mass");
  add(c, Pass::kForward, 1, observe::key_mass, "+key_mass");
  for (const Pass pass : {Pass::kForward, Pass::kBackward}) {
    for (const ScoreName& known : kScoreNames) {
      Case scored = c;
      scored.score = known.score;
      add(scored, pass, 1, {}, fmt::format("+{}", known.name).c_str());
    }
    add(c, pass, 1, {}, "+dropout", Option::kDropout);
    add(c, pass, 1, {}, "+alibi", Option::kAlibi);
    add(c, pass, 1, {}, "+bias", Option::kBias);
    add(c, pass, 1, {}, "+mask", Option::kMask);
    add(c, pass, 1, {}, "+softcap", Option::kSoftcap);
    add({1, 8192, 2, 64, false}, pass, 1, {}, "+window", Option::kWindow);
    add({1, 4096, 2, 64, false}, pass, 1, {}, "+big_bird", Option::kBlocks);
  }
}

}  // namespace
}  // namespace fovea

int main(int argc, char** argv) {
  fovea::peak_of_a_core = fovea::fma_peak_gflops();
  fmt::print("peak of multiply-adds: {:.0f} GFLOP/s a core\n", fovea::peak_of_a_core);
  fovea::register_all();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
