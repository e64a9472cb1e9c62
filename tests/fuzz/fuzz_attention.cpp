// Attention calls of any shape, right and wrong, with any options: each is refused with ArgumentError or
// gives numbers that are there and, from finite inputs, finite. Arrays hold exactly what their shapes say, so
// that AddressSanitizer sees every element read or written beyond them.
#include <cmath>
#include <cstdlib>
#include <limits>
#include <type_traits>
#include <vector>

#include "fovea/attention/attention.hpp"
#include "fovea/attention/decode.hpp"
#include "fovea/attention/double.hpp"
#include "fovea/attention/half.hpp"
#include "fovea/attention/top_k_places.hpp"
#include "fovea/base/error.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/tensor/dtype.hpp"

namespace {

using namespace fovea;

// The fuzzer's bytes as numbers; zeros when they are used up.
class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  uint32_t byte() { return at_ < size_ ? data_[at_++] : 0; }
  bool flag() { return (byte() & 1) != 0; }
  int64_t below(int64_t n) { return byte() % n; }
  // Usually `right`, one in fifty times something near or far from it.
  int64_t nearly(int64_t right) {
    if (byte() < 251) return right;
    constexpr int64_t kWrong[] = {0, 1, -1, 2, 65, 1025, -7, 3};
    const uint32_t b = byte();
    return b < 128 ? kWrong[b % 8] : right + static_cast<int64_t>(b % 8) - 4;
  }
  float number() {
    constexpr float kOdd[] = {0.0f,
                              -1.0f,
                              1e-40f,
                              1e30f,
                              -std::numeric_limits<float>::infinity(),
                              std::numeric_limits<float>::quiet_NaN(),
                              1e4f,
                              65536.0f};
    const uint32_t b = byte();
    return b >= 240 ? kOdd[b % 8] : (static_cast<float>(b) - 100.0f) / 64.0f;
  }
  // In [0, 1), with one exception in thirty.
  float positive() {
    const uint32_t b = byte();
    return b >= 248 ? number() : static_cast<float>(b) / 256.0f;
  }

 private:
  const uint8_t* data_;
  size_t size_, at_ = 0;
};

[[noreturn]] void fail() {
  std::abort();
}
void expect(bool holds) {
  if (!holds) fail();
}

// Elements drawn from a seed; wild ones hold what should not be there.
template <class T>
std::vector<T> elements(int64_t count, Bytes& bytes, bool wild) {
  std::vector<T> x(static_cast<size_t>(std::max<int64_t>(0, count)));
  uint32_t state = bytes.byte() * 2654435761u + 1;
  for (T& value : x) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<T>(static_cast<float>(static_cast<int32_t>(state >> 8) % 2001 - 1000) / 500.0f);
  }
  if (wild && !x.empty()) {
    for (int i = 0; i < 3; ++i) x[bytes.byte() % x.size()] = static_cast<T>(bytes.number());
  }
  return x;
}

// An array and the heads that it is seen as.
template <class T>
struct Heads {
  std::vector<T> memory;
  HeadsView<T> view;
  Heads(Bytes& bytes, int64_t tokens, int64_t heads, int64_t width, bool wild) {
    const int64_t t = bytes.nearly(tokens), h = bytes.nearly(heads), w = bytes.nearly(width);
    const bool columns = bytes.byte() % 4 == 0;  // between other columns of a wider matrix
    const int64_t row = std::max<int64_t>(0, h * w) + (columns ? 5 : 0);
    const bool held = t >= 0 && h >= 0 && w >= 0 && t * row <= 200'000;
    memory = elements<T>(held ? t * row : 0, bytes, wild);
    view = {memory.data(), {t, h, w}, {row, w, bytes.nearly(1)}};
    if (!held || view.strides[2] != 1) view.data = nullptr;  // must be refused before anything is read
  }
  HeadsView<const T> read() const { return view; }
};

Offsets offsets_of(Bytes& bytes, int64_t sequences) {
  std::vector<int64_t> values{bytes.nearly(0)};
  for (int64_t n = 0; n < sequences; ++n) {
    const int64_t length = bytes.below(4) == 0 ? bytes.below(80) : bytes.below(12);
    values.push_back(values.back() + bytes.nearly(length));
  }
  if (bytes.byte() % 64 == 63) values.clear();
  return Offsets(values);
}

// A number of keys to keep, about below `few` or about as many as a sequence has, and now and then absurd.
int64_t many_or_few(Bytes& bytes, int64_t few) {
  constexpr int64_t kMany[] = {
      63, 64, 65, 66, 127, 128, int64_t{1} << 40, std::numeric_limits<int64_t>::max()};
  const uint32_t which = bytes.byte();
  return which < 192 ? bytes.nearly(bytes.below(few)) : kMany[which % 8];
}

AttentionSpec spec_of(Bytes& bytes) {
  AttentionSpec spec;
  const uint32_t which = bytes.byte();
  spec.score = static_cast<Score>(bytes.below(4));
  if (which & 1) spec.scale = bytes.number();
  if (which & 2) spec.causal = true;
  if (which & 4) spec.window_left = bytes.nearly(bytes.below(30));
  if (which & 8) spec.window_right = bytes.nearly(bytes.below(30));
  if (which & 16) spec.softcap = bytes.positive() * 8;
  if (which & 32) spec.dropout = bytes.positive();
  if (which & 64) spec.top_k = many_or_few(bytes, 12);
  if (which & 128) spec.normalizer = Normalizer::kSoftmaxOne;
  spec.dropout_key = {bytes.byte(), bytes.byte()};
  spec.precision = static_cast<Precision>(bytes.below(3));
  return spec;
}

Observers observers_of(Bytes& bytes, std::vector<int32_t>& sets, int64_t keys) {
  Observers o;
  const uint32_t which = bytes.byte(), more = bytes.byte();
  o.entropy = which & 1;
  o.max = which & 2;
  o.key_mass = which & 4;
  o.effective_keys = which & 8;
  o.distance = which & 16;
  o.first_key = which & 32;
  o.block_mass = which & 64;
  if (more & 1) o.top_k = many_or_few(bytes, 9);
  if (more & 2) o.near_left = bytes.nearly(3);
  if (more & 2) o.near_right = bytes.nearly(2);
  if (more & 4) {
    for (int64_t j = 0; j < bytes.nearly(keys) && j < 4096; ++j)
      sets.push_back(static_cast<int32_t>(bytes.nearly(j % 3 - 1)));
    o.key_sets = sets;
    o.key_set_count = bytes.nearly(2);
  }
  return o;
}

// Everything beside q, k and v that an input may hold.
template <class Real>
struct Extras {
  std::vector<Real> slopes, sinks, scales, bias;
  std::vector<float> table;
  std::vector<uint8_t> mask;
  std::vector<BlockMask> blocks;
  std::vector<HeadOverride> ways;
  std::vector<int64_t> order;
  std::vector<float> log_weights;
  ScoresView<const Real> bias_view{};
  bool wild = false;

  Extras(Bytes& bytes, AttentionInputs& in, int64_t heads, int64_t q_heads, bool wild_) : wild(wild_) {
    const uint32_t which = bytes.byte();
    const int64_t n = in.q_offsets.count(), lq = in.q_offsets.max_length(), lk = in.k_offsets.max_length();
    const std::array<int64_t, 4> wanted{n, bytes.nearly(heads), bytes.nearly(lq), bytes.nearly(lk)};
    const auto usable = [&] {
      for (const int64_t d : wanted)
        if (d < 0 || d > 200) return false;
      return true;
    };
    const auto dims_of = [&] {
      std::array<int64_t, 4> dims = wanted;
      for (int64_t& d : dims)
        if (bytes.flag()) d = 1;
      return dims;
    };
    const auto count = [](const std::array<int64_t, 4>& d) { return d[0] * d[1] * d[2] * d[3]; };
    if (which & 1) slopes = elements<Real>(bytes.nearly(heads), bytes, wild);
    if (which & 2) sinks = elements<Real>(bytes.nearly(heads), bytes, wild);
    if (which & 4) scales = elements<Real>(bytes.nearly(heads), bytes, wild);
    if ((which & 8) && usable()) {
      const auto dims = dims_of();
      bias = elements<Real>(count(dims), bytes, wild);
      bias_view = broadcast_scores<const Real>(bias.data(), dims, wanted);
      if (bias.empty()) bias_view.data = nullptr;
    }
    if ((which & 16) && usable()) {
      const auto dims = dims_of();
      for (const float x : elements<float>(count(dims), bytes, false)) mask.push_back(x > -1.0f);
      in.mask = broadcast_scores<const uint8_t>(mask.data(), dims, wanted);
      if (mask.empty()) in.mask.data = nullptr;
    }
    if (which & 32) {
      const int64_t many = bytes.flag() ? n : bytes.nearly(n * heads);
      for (int64_t b = 0; b < many && b < 40; ++b) {
        const int64_t s = n == 0 ? 0 : (many == n ? b : b / std::max<int64_t>(1, heads)) % n;
        const int64_t q = n == 0 ? 0 : bytes.nearly(in.q_offsets.length(s));
        const int64_t k = s >= in.k_offsets.count() ? 0 : bytes.nearly(in.k_offsets.length(s));
        blocks.push_back(BlockMask::window(q, k, bytes.below(20), bytes.below(20)));
      }
      in.blocks = blocks;
    }
    if (which & 64) {
      in.relative.kind = bytes.flag() ? RelativeKind::kBuckets : RelativeKind::kDistances;
      in.relative.bidirectional = bytes.flag();
      in.relative.max_distance = bytes.nearly(20);
      in.relative.buckets = bytes.nearly(in.relative.kind == RelativeKind::kBuckets ? 16
                                         : in.relative.bidirectional                ? 41
                                                                                    : 21);
      // Given by a pointer: as large as the heads of q ask, be they as many as the other arguments say or
      // not.
      table = elements<float>(std::max<int64_t>(1, in.relative.buckets) * std::max<int64_t>(1, q_heads),
                              bytes, wild);
      in.relative.table = table.data();
    }
    if ((which & 128) && bytes.byte() % 4 == 0) {
      for (int64_t h = 0; h < bytes.nearly(heads) && h < 64; ++h)
        ways.push_back(static_cast<HeadOverride>(bytes.below(5)));
      in.override_heads.heads = ways;
      for (int64_t s = 0; s < in.k_offsets.count(); ++s) {
        for (int64_t j = 0; j < in.k_offsets.length(s); ++j) order.push_back(bytes.nearly(j));
      }
      in.override_heads.permutation = order;
      if (usable()) {
        const auto dims = dims_of();
        log_weights = elements<float>(count(dims), bytes, wild);
        in.override_heads.log_weights = broadcast_scores<const float>(log_weights.data(), dims, wanted);
        if (log_weights.empty()) in.override_heads.log_weights.data = nullptr;
      }
    }
  }
};

// Was written; finite where the inputs are (a row without keys has lse −∞).
template <class T>
void expect_written(const std::vector<T>& x, bool wild, bool lse = false) {
  if (wild) return;
  for (const T value : x) {
    const auto v = static_cast<std::conditional_t<std::is_same_v<T, double>, double, float>>(value);
    expect(!std::isnan(v));
    expect(!std::isinf(v) || (lse && v < 0));
  }
}

void expect_shape(const Tensor& x, bool wanted, std::initializer_list<int64_t> shape) {
  expect(x.defined() == wanted);
  if (!wanted) return;
  expect(x.rank() == static_cast<int>(shape.size()));
  int i = 0;
  for (const int64_t d : shape) expect(x.dim(i++) == d);
}

void expect_insight(const Insight& seen, const Observers& o, int64_t rows, int64_t heads, int64_t keys,
                    int64_t longest) {
  expect_shape(seen.entropy, o.entropy, {rows, heads});
  expect_shape(seen.max_weight, o.max, {rows, heads});
  expect_shape(seen.max_key, o.max, {rows, heads});
  expect_shape(seen.top_k_keys, o.top_k > 0, {rows, heads, top_k_places(o.top_k, longest)});
  expect_shape(seen.key_mass, o.key_mass, {keys, heads});
  expect_shape(seen.effective_keys, o.effective_keys, {rows, heads});
  expect_shape(seen.expected_distance, o.distance, {rows, heads});
  expect_shape(seen.first_key_mass, o.first_key, {rows, heads});
  expect_shape(seen.near_mass, o.near(), {rows, heads});
  expect_shape(seen.set_mass, o.key_set_count > 0, {rows, heads, o.key_set_count});
  if (o.top_k > 0) {
    for (int64_t i = 0; i < seen.top_k_keys.numel(); ++i) {
      const int64_t j = seen.top_k_keys.data<int64_t>()[i];
      expect(j >= -1 && j < std::max<int64_t>(1, keys));
    }
  }
}

template <class T>
struct Types {  // 16-bit
  using Real = float;
  using Inputs = HalfAttentionInputs<T>;
  using Gradients = HalfAttentionGradients<T>;
  static AttentionInputs& rest(Inputs& x) { return x.rest; }
  static AttentionInputs& parameters(Inputs& x) { return x.rest; }
  static AttentionGradients& parameters(Gradients& x) { return x.rest; }
};
template <>
struct Types<float> {
  using Real = float;
  using Inputs = AttentionInputs;
  using Gradients = AttentionGradients;
  static AttentionInputs& rest(Inputs& x) { return x; }
  static AttentionInputs& parameters(Inputs& x) { return x; }
  static AttentionGradients& parameters(Gradients& x) { return x; }
};
template <>
struct Types<double> {
  using Real = double;
  using Inputs = DoubleAttentionInputs;
  using Gradients = DoubleAttentionGradients;
  static AttentionInputs& rest(Inputs& x) { return x.rest; }
  static DoubleAttentionInputs& parameters(Inputs& x) { return x; }
  static DoubleAttentionGradients& parameters(Gradients& x) { return x; }
};

template <class T>
void call_attention(Bytes& bytes) {
  using Real = typename Types<T>::Real;
  const bool wild = bytes.byte() % 4 == 0;
  const int64_t sequences = bytes.below(4);
  typename Types<T>::Inputs in;
  AttentionInputs& rest = Types<T>::rest(in);
  rest.q_offsets = offsets_of(bytes, bytes.nearly(sequences) & 7);
  rest.k_offsets = bytes.flag() ? rest.q_offsets : offsets_of(bytes, sequences);
  const int64_t kv_heads = bytes.below(3) + 1, heads = kv_heads * (bytes.below(3) + 1);
  const int64_t d = 1 + bytes.below(20), dv = bytes.flag() ? d : 1 + bytes.below(20);
  const int64_t tq = rest.q_offsets.total(), tk = rest.k_offsets.total();
  const Heads<T> q(bytes, tq, heads, d, wild), k(bytes, tk, kv_heads, d, wild),
      v(bytes, tk, kv_heads, dv, wild);
  in.q = q.read();
  in.k = k.read();
  in.v = v.read();
  const Extras<Real> extras(bytes, rest, heads, in.q.dim(1), wild);
  auto& parameters = Types<T>::parameters(in);
  parameters.alibi_slopes = extras.slopes;
  parameters.sinks = extras.sinks;
  parameters.scales = extras.scales;
  parameters.bias = extras.bias_view;
  AttentionSpec spec = spec_of(bytes);
  if (bytes.nearly(1) == 1) {  // options that refuse each other
    if (!extras.sinks.empty()) spec.normalizer = Normalizer::kSoftmax;
    if (!extras.scales.empty()) spec.scale.reset();
    if (!extras.ways.empty()) spec.top_k = 0;
  }
  // A scale that may overflow, or scores of numbers far from 1, makes inputs as wild as they come.
  const bool tame = !wild && (!spec.scale || std::abs(*spec.scale) < 10) && spec.softcap < 100;
  std::vector<int32_t> sets;
  const Observers observers = observers_of(bytes, sets, tk);
  const int64_t h = in.q.dim(1), width = in.v.dim(2);
  if (tq * h > 100'000 || h < 0 || width < 0 || width > 2000) return;
  std::vector<T> out(static_cast<size_t>(tq * h * width), static_cast<T>(NAN));
  std::vector<Real> lse(static_cast<size_t>(tq * h), std::numeric_limits<Real>::quiet_NaN());
  const auto out_view = contiguous_view<T, 3>(out.data(), {tq, h, width});
  Insight seen;
  attention_forward(in, spec, HeadsView<T>(out_view), lse.data(), observers, &seen);
  expect_written(out, !tame);
  expect_written(lse, !tame, true);
  expect_insight(seen, observers, tq, h, tk, rest.k_offsets.max_length());
  if (tq > 0 && bytes.flag()) {
    const std::vector<int64_t> queries{bytes.nearly(bytes.below(tq)), bytes.nearly(0)};
    attention_rows(in, spec, queries);
  }
  if (bytes.flag()) return;
  std::vector<T> dq(static_cast<size_t>(tq * h * in.q.dim(2)), static_cast<T>(NAN)),
      dk(static_cast<size_t>(tk * in.k.dim(1) * in.k.dim(2)), static_cast<T>(NAN)),
      dvalues(static_cast<size_t>(tk * in.k.dim(1) * width), static_cast<T>(NAN));
  std::vector<Real> of_heads(static_cast<size_t>(3 * h)), dbias(extras.bias.size());
  typename Types<T>::Gradients g;
  if (bytes.byte() % 8 != 0) g.dq = contiguous_view<T, 3>(dq.data(), in.q.dims);
  if (bytes.byte() % 8 != 0) g.dk = contiguous_view<T, 3>(dk.data(), in.k.dims);
  if (bytes.byte() % 8 != 0) g.dv = contiguous_view<T, 3>(dvalues.data(), in.v.dims);
  auto& more = Types<T>::parameters(g);
  uint32_t which = bytes.byte();
  if (which < 224) {  // of what is there
    which &= (extras.slopes.empty() ? 0u : 1u) | (extras.sinks.empty() ? 0u : 2u) |
             (extras.scales.empty() ? 0u : 4u) | 8u;
    if (!extras.ways.empty()) which = 0;
  }
  if (which & 1) more.dslopes = of_heads.data();
  if (which & 2) more.dsinks = of_heads.data() + h;
  if (which & 4) more.dscales = of_heads.data() + 2 * h;
  if ((which & 8) && extras.bias_view.data != nullptr)
    more.dbias = {dbias.data(), extras.bias_view.dims, extras.bias_view.strides};
  attention_backward(in, spec, HeadsView<const T>(out_view), lse.data(), HeadsView<const T>(out_view), g);
  expect_written(dq, !tame || g.dq.data == nullptr);
  expect_written(dk, !tame || g.dk.data == nullptr);
  expect_written(dvalues, !tame || g.dv.data == nullptr);
  expect_written(dbias, !tame);
  expect_written(of_heads, !tame);
}

void call_decode(Bytes& bytes) {
  const int64_t sequences = bytes.nearly(1 + bytes.below(2)) & 3;
  const KvCacheOptions options{.kv_heads = bytes.nearly(1 + bytes.below(3)),
                               .width = bytes.nearly(1 + bytes.below(20)),
                               .value_width = bytes.nearly(1 + bytes.below(20)),
                               .type = static_cast<CacheType>(bytes.below(4)),
                               .block = bytes.nearly(1 + bytes.below(40)),
                               .window = bytes.nearly(bytes.below(30))};
  std::vector<KvCache> caches;
  for (int64_t n = 0; n < bytes.nearly(sequences) && n < 8; ++n) {
    KvCache cache(options);
    for (int64_t part = bytes.below(3); part >= 0; --part) {
      const int64_t tokens = bytes.below(60);
      const Heads<float> k(bytes, tokens, options.kv_heads, options.width, false),
          v(bytes, tokens, options.kv_heads, options.value_width, false);
      cache.append(k.read(), v.read());
      if (bytes.byte() % 8 == 0) cache.evict(bytes.nearly(cache.length() / 2));
    }
    caches.push_back(bytes.flag() ? cache.fork() : cache);
  }
  std::vector<const KvCache*> pointers;
  int64_t keys = 0, longest = 0;
  for (const KvCache& cache : caches) {
    pointers.push_back(&cache);
    keys += cache.length();
    longest = std::max(longest, cache.length());
  }
  DecodeInputs in;
  in.q_offsets = offsets_of(bytes, sequences);
  in.caches = pointers;
  const int64_t heads = options.kv_heads * (1 + bytes.below(3));
  const Heads<float> q(bytes, in.q_offsets.total(), heads, options.width, false);
  in.q = q.read();
  const auto slopes = elements<float>(bytes.flag() ? bytes.nearly(heads) : 0, bytes, false);
  const auto sinks = elements<float>(bytes.flag() ? bytes.nearly(heads) : 0, bytes, false);
  in.alibi_slopes = slopes;
  in.sinks = sinks;
  AttentionSpec spec = spec_of(bytes);
  if (bytes.nearly(1) == 1) {  // what decoding takes
    spec.top_k = 0;
    spec.dropout = 0;
    if (!sinks.empty()) spec.normalizer = Normalizer::kSoftmax;
  }
  std::vector<int32_t> sets;
  const Observers observers = observers_of(bytes, sets, keys);
  const int64_t rows = in.q.dim(0), h = in.q.dim(1);
  if (rows < 0 || h < 0 || rows * h > 100'000 || options.value_width < 0) return;
  std::vector<float> out(static_cast<size_t>(rows * h * options.value_width), NAN),
      lse(static_cast<size_t>(rows * h), NAN);
  Insight seen;
  attention_decode(in, spec, contiguous_view<float, 3>(out.data(), {rows, h, options.value_width}),
                   lse.data(), observers, &seen);
  const bool tame = (!spec.scale || std::abs(*spec.scale) < 10) && spec.softcap < 100;
  expect_written(out, !tame);
  expect_written(lse, !tame, true);
  expect_insight(seen, observers, rows, h, keys, longest);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  set_num_threads(1);
  Bytes bytes(data, size);
  try {
    switch (bytes.below(6)) {
      case 0:
        call_attention<BFloat16>(bytes);
        break;
      case 1:
        call_attention<Float16>(bytes);
        break;
      case 2:
        call_attention<double>(bytes);
        break;
      case 3:
        call_decode(bytes);
        break;
      default:
        call_attention<float>(bytes);
    }
  } catch (const ArgumentError&) {
  }
  return 0;
}
