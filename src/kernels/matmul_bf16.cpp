#include <dnnl.hpp>

#include <algorithm>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <type_traits>
#include <unordered_map>

#include "fovea/base/cpu.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/kernels/convert.hpp"
#include "fovea/kernels/matmul.hpp"
#include "kernels/held_signals.hpp"
#include "kernels/matmul_blocks.hpp"

namespace fovea::kernels {
namespace {

using dnnl::memory;

const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// What a compiled product depends on.
struct Key {
  int64_t m, n, k, lda, ldb, ldc;
  bool transpose_a, transpose_b, add;
  bool half, bias;  // of C in bf16: oneDNN adds the bias then, in float32, before it rounds
  bool operator==(const Key&) const = default;
};

struct KeyHash {
  size_t operator()(const Key& key) const {
    uint64_t h = 0;
    for (const int64_t part : {key.m, key.n, key.k, key.lda, key.ldb, key.ldc,
                               int64_t{key.transpose_a} + 2 * int64_t{key.transpose_b} +
                                   4 * int64_t{key.add} + 8 * int64_t{key.half} + 16 * int64_t{key.bias}}) {
      h = (h ^ static_cast<uint64_t>(part)) * 0x9E3779B97F4A7C15u;
      h ^= h >> 29;
    }
    return static_cast<size_t>(h);
  }
};

struct Compiled {
  memory::desc a, b, c, bias, scratch;
  dnnl::matmul primitive;
};

std::unique_ptr<const Compiled> compile(const Key& key) {
  using dt = memory::data_type;
  auto out = std::make_unique<Compiled>();
  const auto strides = [](bool transposed, int64_t stride) {
    return transposed ? memory::dims{1, stride} : memory::dims{stride, 1};
  };
  out->a = memory::desc({key.m, key.k}, dt::bf16, strides(key.transpose_a, key.lda));
  out->b = memory::desc({key.k, key.n}, dt::bf16, strides(key.transpose_b, key.ldb));
  out->c = memory::desc({key.m, key.n}, key.half ? dt::bf16 : dt::f32, strides(false, key.ldc));
  if (key.bias) out->bias = memory::desc({1, key.n}, dt::f32, memory::dims{key.n, 1});
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (key.add) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  const dnnl::matmul::desc wanted = key.bias ? dnnl::matmul::desc(out->a, out->b, out->bias, out->c)
                                             : dnnl::matmul::desc(out->a, out->b, out->c);
  const dnnl::matmul::primitive_desc chosen(wanted, attributes, cpu_engine());
  out->scratch = chosen.scratchpad_desc();
  out->primitive = dnnl::matmul(chosen);
  return out;
}

// Compiled once a shape (a millisecond), looked up in well under a microsecond, kept for the program's life:
// a model has some dozens of shapes. Ragged batches would make it grow without end: past the limit it starts
// anew.
class Cache {
 public:
  std::shared_ptr<const Compiled> get(const Key& key) {
    {
      const std::shared_lock lock(mutex_);
      const auto found = entries_.find(key);
      if (found != entries_.end()) return found->second;
    }
    std::shared_ptr<const Compiled> made = compile(key);
    const std::unique_lock lock(mutex_);
    if (entries_.size() >= kLimit) entries_.clear();
    return entries_.try_emplace(key, std::move(made)).first->second;
  }

 private:
  static constexpr size_t kLimit = 4096;
  std::shared_mutex mutex_;
  std::unordered_map<Key, std::shared_ptr<const Compiled>, KeyHash> entries_;
};

Cache& cache() {
  static Cache instance;
  return instance;
}

template <class T>
void native_block(const MatmulLayout& s, const MatmulBlock& block, const BFloat16* a, const BFloat16* b,
                  T* c) {
  constexpr bool kHalf = std::is_same_v<T, BFloat16>;
  const float* bias = s.bias == nullptr ? nullptr : s.bias + block.col;
  T* out = c + block.row * s.ldc + block.col;
  if constexpr (!kHalf) prepare_block(s, block.m, block.n, bias, out);
  const auto product =
      cache().get({block.m, block.n, s.k, s.lda, s.ldb, s.ldc, s.transpose_a, s.transpose_b,
                   !kHalf && (s.accumulate || bias != nullptr), kHalf, kHalf && bias != nullptr});
  const dnnl::engine& engine = cpu_engine();
  dnnl::stream stream(engine);
  Buffer<char> scratch(product->scratch.get_size());
  // oneDNN takes inputs by a pointer to non-const, and does not write them.
  auto* in_a = const_cast<BFloat16*>(a + s.offset_a(block.row));
  auto* in_b = const_cast<BFloat16*>(b + s.offset_b(block.col));
  std::unordered_map<int, memory> arguments{
      {DNNL_ARG_SRC, memory(product->a, engine, in_a)},
      {DNNL_ARG_WEIGHTS, memory(product->b, engine, in_b)},
      {DNNL_ARG_DST, memory(product->c, engine, out)},
      {DNNL_ARG_SCRATCHPAD, memory(product->scratch, engine, scratch.data())}};
  if (kHalf && bias != nullptr)
    arguments.emplace(DNNL_ARG_BIAS, memory(product->bias, engine, const_cast<float*>(bias)));
  const HeldSignals held;
  product->primitive.execute(stream, arguments);
}

// Rows in multiples of 64 and a rest, which are compiled apart: a ragged batch has another number of tokens
// at each step, and would otherwise compile anew each time.
constexpr int64_t kRowUnit = 64;

// Each block turns its operands into pairs anew: blocks of 64 rows run 10 % slower than those of 128.
constexpr int64_t kLeastRows = 128;

template <class T>
void native_product(const MatmulLayout& s, const BFloat16* a, const BFloat16* b, T* c) {
  const MatmulCut cut = MatmulCut::rows_first(s, kLeastRows, s.transpose_a || s.transpose_b ? 128 : 64);
  for_blocks(s, cut, kRowUnit, 16, [&](const MatmulBlock& block) {
    const int64_t whole = block.m / kRowUnit * kRowUnit;
    if (whole > 0) native_block(s, {block.row, block.col, whole, block.n}, a, b, c);
    if (whole < block.m) native_block(s, {block.row + whole, block.col, block.m - whole, block.n}, a, b, c);
  });
}

}  // namespace

bool matmul_bf16_is_native() {
  // What oneDNN may use, which ONEDNN_MAX_CPU_ISA can lower below what the processor has; its values nest as
  // bits.
  static const bool native = [] {
    const int have = static_cast<int>(dnnl::get_effective_cpu_isa());
    const int wanted = static_cast<int>(dnnl::cpu_isa::avx512_core_bf16);
    return cpu_features().avx512_bf16 && (have == 0 || (have & wanted) == wanted);
  }();
  return native;
}

void matmul_bf16(const Matmul& spec, const BFloat16* a, const BFloat16* b, float* c) {
  const MatmulLayout s(spec);
  if (s.k <= 0) return empty_product(s, c);
  if (matmul_bf16_is_native()) return native_product(s, a, b, c);
  const auto extent = [](int64_t rows, int64_t cols, int64_t stride) {
    return rows > 0 && cols > 0 ? (rows - 1) * stride + cols : 0;
  };
  const int64_t a_size = s.transpose_a ? extent(s.k, s.m, s.lda) : extent(s.m, s.k, s.lda);
  const int64_t b_size = s.transpose_b ? extent(s.n, s.k, s.ldb) : extent(s.k, s.n, s.ldb);
  Buffer<float> wide_a(static_cast<size_t>(a_size));
  Buffer<float> wide_b(static_cast<size_t>(b_size));
  from_bf16(a_size, a, wide_a.data());
  from_bf16(b_size, b, wide_b.data());
  matmul(spec, wide_a.data(), wide_b.data(), c);
}

void matmul_bf16(const Matmul& spec, const BFloat16* a, const BFloat16* b, BFloat16* c) {
  const MatmulLayout s(spec);
  if (s.k > 0 && matmul_bf16_is_native()) return native_product(s, a, b, c);
  Matmul wide = spec;
  wide.ldc = s.n;
  Buffer<float> sums(static_cast<size_t>(s.m * s.n));
  matmul_bf16(wide, a, b, sums.data());
  for (int64_t i = 0; i < s.m; ++i) to_bf16(s.n, sums.data() + i * s.n, c + i * s.ldc);
}

}  // namespace fovea::kernels
