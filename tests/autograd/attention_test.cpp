#include "fovea/autograd/functions/attention.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "fovea/autograd/tape.hpp"
#include "fovea/base/error.hpp"
#include "tests/autograd/registry.hpp"
#include "tests/support/expect_error.hpp"

namespace fovea::autograd {
namespace {

// What a case varies.
struct Form {
  std::string name;
  int64_t heads = 2;
  int64_t key_heads = 2;
  int64_t width = 8;
  int64_t value_width = 8;
  bool causal = false;
  int64_t window = -1;  // left
  float softcap = 0;
  bool rotary = false;
  bool table = false;
  bool slopes = false;
  bool sinks = false;
  bool scales = false;
  std::vector<int> bias{};  // the axes that it tells apart, of sequence, head, query, key
  bool mask = false;
  bool blocks = false;
  bool distances = false;  // the table's rows are distances
};

// What the mask and the block masks of a case let a query see.
bool mask_sees(int64_t h, int64_t i, int64_t j) {
  return (i * 7 + j * 3 + h) % 5 != 0;
}
bool blocks_see(int64_t i, int64_t j) {
  return (i / 3 + j / 4) % 3 != 1;
}

constexpr int64_t kBuckets = 8;
constexpr int64_t kMaxDistance = 20;

int64_t bucket(int64_t distance) {  // T5's, both directions, 8 buckets
  const int64_t half = kBuckets / 2;
  int64_t b = distance > 0 ? half : 0;
  const int64_t n = std::abs(distance);
  const int64_t exact = half / 2;
  if (n < exact) return b + n;
  const double log = std::log(static_cast<double>(n) / static_cast<double>(exact)) /
                     std::log(static_cast<double>(kMaxDistance) / static_cast<double>(exact));
  return b + std::min(half - 1, exact + static_cast<int64_t>(log * static_cast<double>(half - exact)));
}

int64_t clipped(int64_t distance) {  // three distances each way and 0, of 7 rows
  return 3 + std::clamp<int64_t>(distance, -3, 3);
}

Array turned(Array x, int64_t heads, const Offsets& offsets) {
  const int64_t width = x.dim(1) / heads;
  for (int64_t s = 0; s < offsets.count(); ++s) {
    for (int64_t t = offsets.begin(s); t < offsets.end(s); ++t) {
      for (int64_t h = 0; h < heads; ++h) {
        for (int64_t p = 0; p < width / 2; ++p) {
          const double angle = static_cast<double>(t - offsets.begin(s)) *
                               std::pow(10000.0, -2.0 * static_cast<double>(p) / static_cast<double>(width));
          const double a = x.at(t, h * width + p);
          const double b = x.at(t, h * width + p + width / 2);
          x.at(t, h * width + p) = a * std::cos(angle) - b * std::sin(angle);
          x.at(t, h * width + p + width / 2) = a * std::sin(angle) + b * std::cos(angle);
        }
      }
    }
  }
  return x;
}

// extras in the order table, slopes, sinks, those that the form has.
Array naive(const Form& f, Array q, Array k, const Array& v, const Offsets& qo, const Offsets& ko,
            const std::vector<const Array*>& extras) {
  size_t next = 0;
  const Array* table = f.table ? extras[next++] : nullptr;
  const Array* slopes = f.slopes ? extras[next++] : nullptr;
  const Array* sinks = f.sinks ? extras[next++] : nullptr;
  const Array* scales = f.scales ? extras[next++] : nullptr;
  const Array* bias = !f.bias.empty() ? extras[next++] : nullptr;
  if (f.rotary) {
    q = turned(q, f.heads, qo);
    k = turned(k, f.key_heads, ko);
  }
  Array out = reference::zeros({q.dim(0), f.heads * f.value_width});
  for (int64_t s = 0; s < qo.count(); ++s) {
    const int64_t shift = ko.length(s) - qo.length(s);
    for (int64_t h = 0; h < f.heads; ++h) {
      const int64_t kh = h / (f.heads / f.key_heads);
      for (int64_t i = 0; i < qo.length(s); ++i) {
        std::vector<double> scores;
        std::vector<int64_t> keys;
        for (int64_t j = 0; j < ko.length(s); ++j) {
          const int64_t distance = j - (i + shift);
          if ((f.causal && distance > 0) || (f.window >= 0 && -distance > f.window)) continue;
          if ((f.mask && !mask_sees(h, i, j)) || (f.blocks && !blocks_see(i, j))) continue;
          double x = 0;
          for (int64_t d = 0; d < f.width; ++d) {
            x += q.at(qo.begin(s) + i, h * f.width + d) * k.at(ko.begin(s) + j, kh * f.width + d);
          }
          x *= scales != nullptr ? scales->at(h) : 1 / std::sqrt(static_cast<double>(f.width));
          if (f.softcap > 0)
            x = static_cast<double>(f.softcap) * std::tanh(x / static_cast<double>(f.softcap));
          if (table != nullptr) x += table->at(f.distances ? clipped(distance) : bucket(distance), h);
          if (bias != nullptr) {
            const auto at = [&](size_t axis, int64_t index) { return bias->dims[axis] == 1 ? 0 : index; };
            const int64_t row = (at(0, s) * bias->dims[1] + at(1, h)) * bias->dims[2] + at(2, i);
            x += bias->at(row * bias->dims[3] + at(3, j));
          }
          if (slopes != nullptr) x -= slopes->at(h) * static_cast<double>(std::abs(distance));
          scores.push_back(x);
          keys.push_back(ko.begin(s) + j);
        }
        if (keys.empty()) continue;
        const size_t n = scores.size();
        if (sinks != nullptr) scores.push_back(sinks->at(h));
        const double lse = reference::log_sum_exp(scores.data(), static_cast<int64_t>(scores.size()));
        for (size_t j = 0; j < n; ++j) {
          for (int64_t d = 0; d < f.value_width; ++d) {
            out.at(qo.begin(s) + i, h * f.value_width + d) +=
                std::exp(scores[j] - lse) * v.at(keys[j], kh * f.value_width + d);
          }
        }
      }
    }
  }
  return out;
}

// Columns [begin, end) of x.
Array columns(const Array& x, int64_t begin, int64_t end) {
  Array y = reference::zeros({x.dim(0), end - begin});
  for (int64_t r = 0; r < x.dim(0); ++r) {
    for (int64_t c = begin; c < end; ++c) y.at(r, c - begin) = x.at(r, c);
  }
  return y;
}

std::vector<Form> forms() {
  return {{.name = "plain"},
          {.name = "causal", .causal = true},
          {.name = "grouped", .heads = 4, .key_heads = 2, .causal = true},
          {.name = "window", .key_heads = 1, .causal = true, .window = 5},
          {.name = "softcap", .softcap = 1.5f},
          {.name = "rotary", .key_heads = 1, .causal = true, .rotary = true},
          {.name = "table", .table = true},
          {.name = "slopes", .causal = true, .slopes = true},
          {.name = "sinks", .causal = true, .sinks = true},
          {.name = "scales", .softcap = 2.0f, .scales = true},
          {.name = "bias", .bias = {1, 2, 3}},
          {.name = "bias of keys", .causal = true, .sinks = true, .scales = true, .bias = {0, 3}},
          {.name = "mask", .heads = 4, .mask = true},
          {.name = "blocks", .causal = true, .bias = {2, 3}, .mask = true, .blocks = true},
          {.name = "distances", .table = true, .distances = true}};
}

AttentionOptions options_of(const Form& f, std::vector<Var>& in, size_t extras, const Offsets& qo,
                            const Offsets& ko) {
  AttentionOptions o;
  o.spec.causal = f.causal;
  o.spec.window_left = f.window;
  o.spec.softcap = f.softcap;
  o.heads = f.heads;
  o.key_heads = f.key_heads;
  if (f.rotary) o.rotary = RotarySpec{};
  o.relative_max_distance = kMaxDistance;
  if (f.table) o.relative_table = in[extras++];
  if (f.slopes) o.alibi_slopes = in[extras++];
  if (f.sinks) o.sinks = in[extras++];
  if (f.scales) o.scales = in[extras++];
  if (!f.bias.empty()) o.bias = in[extras++];
  if (f.distances) {
    o.relative_kind = RelativeKind::kDistances;
    o.relative_max_distance = 3;
  }
  if (f.mask) {
    o.mask = Tensor::empty({1, f.heads, qo.max_length(), ko.max_length()}, DType::kBool);
    auto* to = o.mask.data<bool>();
    for (int64_t h = 0; h < f.heads; ++h) {
      for (int64_t i = 0; i < qo.max_length(); ++i) {
        for (int64_t j = 0; j < ko.max_length(); ++j) *to++ = mask_sees(h, i, j);
      }
    }
  }
  for (int64_t n = 0; f.blocks && n < qo.count(); ++n)
    o.blocks.push_back(BlockMask::from_function(qo.length(n), ko.length(n),
                                                [](int64_t i, int64_t j) { return blocks_see(i, j); }));
  return o;
}

void add_extras(const Form& f, std::vector<Array>& inputs, const Offsets& qo, const Offsets& ko) {
  if (f.table) inputs.push_back(random_array({f.distances ? 7 : kBuckets, f.heads}, 11));
  if (f.slopes) inputs.push_back(random_array({f.heads}, 12, 0.01, 0.2));
  if (f.sinks) inputs.push_back(random_array({f.heads}, 13));
  if (f.scales) inputs.push_back(random_array({f.heads}, 14, 0.1, 0.5));
  if (!f.bias.empty()) {
    std::vector<int64_t> dims(4, 1);
    const int64_t full[] = {qo.count(), f.heads, qo.max_length(), ko.max_length()};
    for (const int axis : f.bias) dims[static_cast<size_t>(axis)] = full[axis];
    inputs.push_back(random_array(dims, 15));
  }
}

std::vector<const Array*> extras_of(const std::vector<Array>& in, size_t first) {
  std::vector<const Array*> all;
  for (size_t i = first; i < in.size(); ++i) all.push_back(&in[i]);
  return all;
}

// Sequences whose queries and keys differ in number; both may be empty.
Offsets keys_for(const Offsets& queries) {
  std::vector<int64_t> lengths;
  for (int64_t n = 0; n < queries.count(); ++n) lengths.push_back((queries.length(n) * 7 + n * 3) % 23);
  return Offsets::from_lengths(lengths);
}

// Scores are sums of width products and the softmax a sum over the keys; |score| stays below 4.
GradientCase base(const Form& f, int64_t tokens) {
  return {.label = f.name + " " + std::to_string(tokens),
          .inputs = {},
          .op = {},
          .reference = {},
          .depth = static_cast<double>(64 + f.width + tokens / 4),
          .magnitude = 4};
}

FOVEA_GRADIENT_CASES(attention_qkv) {
  std::vector<GradientCase> cases;
  for (const Form& f : forms()) {
    for (const int64_t n : awkward_sizes()) {
      if (n > 200) continue;  // the reference's time; attention's own tests go further
      const Offsets offsets = awkward_offsets(n);
      GradientCase c = base(f, n);
      c.inputs = {random_array({n, (f.heads + 2 * f.key_heads) * f.width}, 1)};
      add_extras(f, c.inputs, offsets, offsets);
      c.op = [f, offsets](auto& in) {
        const AttentionOptions o = options_of(f, in, 1, offsets, offsets);
        return attention_qkv(std::move(in[0]), offsets, o);
      };
      c.reference = [f, offsets](const auto& in) {
        const int64_t a = f.heads * f.width;
        const int64_t b = a + f.key_heads * f.width;
        return naive(f, columns(in[0], 0, a), columns(in[0], a, b), columns(in[0], b, in[0].dim(1)), offsets,
                     offsets, extras_of(in, 1));
      };
      cases.push_back(c);
    }
  }
  return cases;
}

FOVEA_GRADIENT_CASES(attention) {
  std::vector<GradientCase> cases;
  std::vector<Form> all = forms();
  all.push_back({.name = "wide values", .width = 5, .value_width = 12});
  for (const Form& f : all) {
    for (const int64_t n : {0, 1, 9, 33, 65}) {
      const Offsets qo = awkward_offsets(n);
      const Offsets ko = keys_for(qo);
      GradientCase c = base(f, n);
      c.inputs = {random_array({n, f.heads * f.width}, 1),
                  random_array({ko.total(), f.key_heads * f.width}, 2),
                  random_array({ko.total(), f.key_heads * f.value_width}, 3)};
      add_extras(f, c.inputs, qo, ko);
      c.op = [f, qo, ko](auto& in) {
        const AttentionOptions o = options_of(f, in, 3, qo, ko);
        return attention(std::move(in[0]), std::move(in[1]), in[2], qo, ko, o);
      };
      c.reference = [f, qo, ko](const auto& in) {
        return naive(f, in[0], in[1], in[2], qo, ko, extras_of(in, 3));
      };
      cases.push_back(c);
    }
  }
  return cases;
}

FOVEA_GRADIENT_CASES(attention_kv) {
  std::vector<GradientCase> cases;
  for (const Form& f : forms()) {
    for (const int64_t n : {0, 1, 9, 33, 65}) {
      const Offsets qo = awkward_offsets(n);
      const Offsets ko = keys_for(qo);
      GradientCase c = base(f, n);
      c.inputs = {random_array({n, f.heads * f.width}, 1),
                  random_array({ko.total(), 2 * f.key_heads * f.width}, 2)};
      add_extras(f, c.inputs, qo, ko);
      c.op = [f, qo, ko](auto& in) {
        const AttentionOptions o = options_of(f, in, 2, qo, ko);
        return attention_kv(std::move(in[0]), std::move(in[1]), qo, ko, o);
      };
      c.reference = [f, qo, ko](const auto& in) {
        const int64_t half = f.key_heads * f.width;
        return naive(f, in[0], columns(in[1], 0, half), columns(in[1], half, 2 * half), qo, ko,
                     extras_of(in, 2));
      };
      cases.push_back(c);
    }
  }
  return cases;
}

FOVEA_GRADIENT_CASES(rotary) {
  std::vector<GradientCase> cases;
  for (const int64_t n : awkward_sizes()) {
    const Offsets offsets = awkward_offsets(n);
    cases.push_back({.label = std::to_string(n),
                     .inputs = {random_array({n, 3 * 8}, 1)},
                     .op = [offsets](auto& in) { return rotary(std::move(in[0]), 3, offsets); },
                     .reference = [offsets](const auto& in) { return turned(in[0], 3, offsets); },
                     // The angle is a float32 too: up to 64 radians, so 64 units of its own rounding.
                     .depth = 64});
  }
  return cases;
}

// Dropout cannot be compared with a formula of its own; the gradient must be that of the very mask used. v
// enters linearly, so Σ dy∘out = Σ dv∘v exactly holds where both used one mask.
TEST(Attention, DropoutUsesOneMaskForwardAndBackward) {
  const Offsets offsets = awkward_offsets(65);
  const Var q = Tensor(to_tensor(random_array({65, 16}, 1)));
  const Var k = Tensor(to_tensor(random_array({65, 16}, 2)));
  const Var v = Var::parameter(to_tensor(random_array({65, 16}, 3)));
  AttentionOptions o{.heads = 2};
  o.spec.dropout = 0.5f;
  o.spec.dropout_key = {1, 2};
  Tape tape;
  const TapeScope scope(tape);
  const Var out = attention(q, k, v, offsets, offsets, o);
  const Array dy = random_array({65, 16}, 4);
  double forward = 0;
  for (int64_t i = 0; i < dy.size(); ++i) forward += dy.at(i) * static_cast<double>(out.value().data()[i]);
  tape.backward_from(out, to_tensor(dy));
  double backward = 0;
  for (int64_t i = 0; i < dy.size(); ++i) {
    backward += static_cast<double>(v.grad().data()[i]) * static_cast<double>(v.value().data()[i]);
  }
  EXPECT_NEAR(forward, backward, 1e-5 * 65);
}

TEST(Attention, ReportsWhatItSaw) {
  const Offsets offsets = awkward_offsets(33);
  Insight seen;
  AttentionCall call;
  AttentionOptions o{.heads = 2, .rotary = RotarySpec{}};
  o.observers = observe::entropy | observe::key_mass;
  o.seen = &seen;
  o.call = &call;
  const Var qkv = Tensor(to_tensor(random_array({33, 48}, 1)));
  const Var out = attention_qkv(qkv, offsets, o);
  EXPECT_EQ(seen.entropy.shape(), Shape({33, 2}));
  EXPECT_EQ(seen.key_mass.shape(), Shape({33, 2}));
  const int64_t query = 20;
  const Ragged rows = attention_rows(call.inputs, call.spec, std::span<const int64_t>(&query, 1));
  float total = 0;
  for (int64_t j = 0; j < rows.offsets.total(); ++j) total += rows.tokens.data()[2 * j];
  EXPECT_NEAR(total, 1.0f, 1e-5f);
  o.observers = {};
  o.seen = nullptr;
  o.call = nullptr;
  const Var plain = attention_qkv(qkv, offsets, o);
  EXPECT_EQ(std::memcmp(out.value().raw(), plain.value().raw(), static_cast<size_t>(out.value().nbytes())),
            0);
}

TEST(Attention, MisuseIsNamed) {
  const Var x = Tensor::zeros({4, 12});
  EXPECT_ERROR(attention_qkv(x, Offsets::single(4), {.heads = 3, .key_heads = 2}), ArgumentError,
               "[attention_qkv] expected key heads that divide the heads, got 3 heads and 2 key heads");
  EXPECT_ERROR(attention_qkv(x, Offsets::single(5), {.heads = 2}), ArgumentError,
               "[attention_qkv] expected offsets that end at the 4 tokens of x, got 5");
  EXPECT_ERROR(attention(x, Tensor::zeros({4, 6}), x, Offsets::single(4), Offsets::single(4), {.heads = 2}),
               ArgumentError,
               "[attention] expected heads of q and k of one width, got q [4, 12] and k [4, 6]");
  AttentionOptions wrong{.heads = 2};
  wrong.bias = Tensor::zeros({1, 2, 4, 5});
  EXPECT_ERROR(
      attention(x, x, x, Offsets::single(4), Offsets::single(4), wrong), ArgumentError,
      "[attention] expected a bias of float32 [1, 2, 4, 4] (or 1 along an axis), got float32 [1, 2, 4, 5]");
  wrong.bias = {};
  wrong.mask = Tensor::zeros({1, 2, 4, 4});
  EXPECT_ERROR(
      attention(x, x, x, Offsets::single(4), Offsets::single(4), wrong), ArgumentError,
      "[attention] expected a mask of bool [1, 2, 4, 4] (or 1 along an axis), got float32 [1, 2, 4, 4]");
}

}  // namespace
}  // namespace fovea::autograd
