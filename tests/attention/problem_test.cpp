#include "tests/attention/problem.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace fovea::testing {
namespace {

Tensor random_tensor(Random& random, const Shape& shape, double magnitude) {
  Tensor x = Tensor::empty(shape);
  for (float& value : x.span()) value = static_cast<float>(magnitude * random.normal());
  return x;
}

HeadsView<const float> view_of(const Tensor& x) {
  return contiguous_view<const float, 3>(x.data(), {x.dim(0), x.dim(1), x.dim(2)});
}

}  // namespace

std::string Problem::describe() const {
  return fmt::format(
      "seed {} q [{}] k [{}] heads {}/{} d {} dv {} causal {} window ({}, {}) softcap {} dropout {} score {} "
      "alibi {} "
      "relative {} sinks {} interleaved {} batched {} scales {} distances {} bias [{}] mask [{}] transposed "
      "{} "
      "hiding {} blocks {} normalizer {} top_k {} lse_gradient {}",
      seed, fmt::join(q_lengths, ","), fmt::join(k_lengths, ","), heads, kv_heads, d, dv, spec.causal,
      spec.window_left, spec.window_right, spec.softcap, spec.dropout, static_cast<int>(spec.score), alibi,
      relative, sinks, interleaved, batched, scales, distances, fmt::join(bias, ","), fmt::join(mask, ","),
      keys_outer, hiding_bias, static_cast<int>(blocks), static_cast<int>(spec.normalizer), spec.top_k,
      lse_gradient);
}

namespace {

std::array<int64_t, 4> wanted_dims(const Arrays& a) {
  return {a.q_offsets.count(), a.problem.heads, a.q_offsets.max_length(), a.k_offsets.max_length()};
}

int64_t held_elements(const std::vector<bool>& axes, const Arrays& a) {
  const auto dims = wanted_dims(a);
  int64_t n = 1;
  for (size_t axis = 0; axis < 4; ++axis) n *= axes[axis] ? dims[axis] : 1;
  return n;
}

// Live and dead regions of awkward sizes, some full, some ragged.
bool block_sees(uint64_t seed, int64_t i, int64_t j) {
  const auto hash = [](uint64_t x) { return philox4x32({static_cast<uint32_t>(x), 0, 0, 0}, {7, 7})[0]; };
  const uint32_t region = hash(seed * 1000003 + static_cast<uint64_t>(i / 70 * 1000 + j / 90));
  if (region % 3 == 0) return false;
  return region % 3 == 1 || hash(seed + static_cast<uint64_t>(i * 100000 + j)) % 4 != 0;
}

void add_masks(Arrays& a, Random& random) {
  const Problem& p = a.problem;
  if (p.scales) {
    a.scales = random_tensor(random, {p.heads}, 0.3);
    a.inputs.scales = a.scales.span();
  }
  if (!p.bias.empty()) {
    a.bias = random_tensor(random, {held_elements(p.bias, a)}, 1.0);
    if (p.hiding_bias) {
      for (float& x : a.bias.span()) x = random.below(10) == 0 ? -INFINITY : x;
    }
    a.inputs.bias = scores_view(a.bias.data(), p.bias, p.keys_outer, a);
  }
  if (!p.mask.empty()) {
    a.mask.resize(static_cast<size_t>(held_elements(p.mask, a)));
    // Long runs of either value too, so that tiles are skipped, full and partial.
    for (size_t i = 0; i < a.mask.size();) {
      const auto value = static_cast<uint8_t>(random.below(3));
      for (uint64_t n = random.below(2) == 0 ? 1 : random.below(300); n-- > 0 && i < a.mask.size();)
        a.mask[i++] = value;
    }
    const ScoresView<float> layout = scores_view(nullptr, p.mask, p.keys_outer, a);
    a.inputs.mask = {a.mask.data(), layout.dims, layout.strides};
  }
  if (p.blocks == Problem::Blocks::kNone) return;
  const int64_t sequences =
      p.blocks == Problem::Blocks::kOne ? std::min<int64_t>(1, a.q_offsets.count()) : a.q_offsets.count();
  for (int64_t n = 0; n < sequences; ++n) {
    for (int64_t h = 0; h < (p.blocks == Problem::Blocks::kPerHead ? p.heads : 1); ++h) {
      const uint64_t seed = p.seed + static_cast<uint64_t>(n * 10 + h);
      a.blocks.push_back(
          BlockMask::from_function(a.q_offsets.length(n), a.k_offsets.length(n),
                                   [=](int64_t i, int64_t j) { return block_sees(seed, i, j); }));
    }
  }
  a.inputs.blocks = a.blocks;
}

Tensor batched_tensor(Random& random, const Offsets& offsets, int64_t heads, int64_t width, double magnitude,
                      HeadsView<const float>& view) {
  const int64_t batch = offsets.count(), length = offsets.max_length();
  Tensor x = random_tensor(random, {batch, heads, length, width}, magnitude);
  view = heads_of_batch<const float>(x.data(), batch, heads, length, width);
  return x;
}

}  // namespace

ScoresView<float> scores_view(float* data, const std::vector<bool>& axes, bool keys_outer, const Arrays& a) {
  ScoresView<float> view{data, wanted_dims(a), {}};
  int64_t stride = 1;
  for (const size_t axis :
       {keys_outer ? size_t{2} : size_t{3}, keys_outer ? size_t{3} : size_t{2}, size_t{1}, size_t{0}}) {
    view.strides[axis] = axes[axis] ? stride : 0;
    if (axes[axis]) stride *= view.dims[axis];
  }
  return view;
}

RelativeBias relative_of(const Arrays& a) {
  const float* table = a.table ? a.table.data() : nullptr;
  if (!a.problem.distances) return {table, 16, 50, a.problem.bidirectional};
  return {table, a.problem.bidirectional ? 15 : 16, a.problem.bidirectional ? 7 : 15, a.problem.bidirectional,
          RelativeKind::kDistances};
}

Arrays make_arrays(const Problem& problem) {
  Arrays a{problem,
           Offsets::from_lengths(problem.q_lengths),
           Offsets::from_lengths(problem.k_lengths),
           {},
           {},
           {},
           {},
           {},
           {},
           {},
           {},
           {},
           {},
           {},
           {},
           {},
           {},
           {},
           {}};
  Random random(problem.seed);
  const int64_t tq = a.q_offsets.total(), tk = a.k_offsets.total();
  const Problem& p = problem;
  if (p.interleaved) {
    const int64_t columns = p.heads * p.d + p.kv_heads * (p.d + p.dv);
    a.memory = random_tensor(random, {tq, columns}, p.magnitude);
    float* m = a.memory.data();
    a.inputs.q = heads_of_columns<float>(m, tq, columns, 0, p.heads, p.d);
    a.inputs.k = heads_of_columns<float>(m, tq, columns, p.heads * p.d, p.kv_heads, p.d);
    a.inputs.v = heads_of_columns<float>(m, tq, columns, (p.heads + p.kv_heads) * p.d, p.kv_heads, p.dv);
  } else if (p.batched) {
    a.q = batched_tensor(random, a.q_offsets, p.heads, p.d, p.magnitude, a.inputs.q);
    a.k = batched_tensor(random, a.k_offsets, p.kv_heads, p.d, 1.0, a.inputs.k);
    a.v = batched_tensor(random, a.k_offsets, p.kv_heads, p.dv, 1.0, a.inputs.v);
  } else {
    a.q = random_tensor(random, {tq, p.heads, p.d}, p.magnitude);
    a.k = random_tensor(random, {tk, p.kv_heads, p.d}, 1.0);
    a.v = random_tensor(random, {tk, p.kv_heads, p.dv}, 1.0);
    a.inputs.q = view_of(a.q);
    a.inputs.k = view_of(a.k);
    a.inputs.v = view_of(a.v);
  }
  a.inputs.q_offsets = a.q_offsets;
  a.inputs.k_offsets = a.k_offsets;
  if (p.batched) {
    a.dout = batched_tensor(random, a.q_offsets, p.heads, p.dv, 1.0, a.dout_view);
  } else {
    a.dout = random_tensor(random, {tq, p.heads, p.dv}, 1.0);
    a.dout_view = view_of(a.dout);
  }
  if (p.alibi) {
    a.slopes = random_tensor(random, {p.heads}, 0.2);
    a.inputs.alibi_slopes = a.slopes.span();
  }
  if (p.relative) {
    a.table = random_tensor(random, {16, p.heads}, 1.0);
    a.inputs.relative = relative_of(a);
  }
  if (p.sinks) {
    a.sinks = random_tensor(random, {p.heads}, 1.0);
    a.inputs.sinks = a.sinks.span();
  }
  add_masks(a, random);
  if (p.lse_gradient) a.dlse = random_tensor(random, {tq, p.heads}, 1.0);
  return a;
}

Results run_engine(const Arrays& a, bool backward) {
  const Problem& p = a.problem;
  const int64_t tq = a.q_offsets.total(), tk = a.k_offsets.total();
  Results r;
  r.out = Tensor::full({tq, p.heads, p.dv}, NAN);
  r.lse = Tensor::full({tq, p.heads}, NAN);
  r.softmax_rows = Tensor::full({tq, p.heads, 2}, NAN);
  attention_forward(a.inputs, p.spec, contiguous_view<float, 3>(r.out.data(), {tq, p.heads, p.dv}),
                    {r.lse.data(), r.saved()});
  if (!backward) return r;
  r.dq = Tensor::full({tq, p.heads, p.d}, NAN);
  r.dk = Tensor::full({tk, p.kv_heads, p.d}, NAN);
  r.dv = Tensor::full({tk, p.kv_heads, p.dv}, NAN);
  AttentionGradients g{contiguous_view<float, 3>(r.dq.data(), {tq, p.heads, p.d}),
                       contiguous_view<float, 3>(r.dk.data(), {tk, p.kv_heads, p.d}),
                       contiguous_view<float, 3>(r.dv.data(), {tk, p.kv_heads, p.dv})};
  r.dslopes = Tensor::zeros({p.heads});
  r.dtable = Tensor::zeros({16, p.heads});
  r.dsinks = Tensor::zeros({p.heads});
  if (p.alibi) g.dslopes = r.dslopes.data();
  if (p.relative) g.dtable = r.dtable.data();
  if (p.sinks) g.dsinks = r.dsinks.data();
  if (p.scales) {
    r.dscales = Tensor::zeros({p.heads});
    g.dscales = r.dscales.data();
  }
  if (!p.bias.empty()) {
    const ScoresView<const float>& bias = a.inputs.bias;  // the gradient lies as the bias does
    int64_t size = 1;
    for (size_t axis = 0; axis < 4; ++axis)
      size += std::max<int64_t>(0, bias.dims[axis] - 1) * bias.strides[axis];
    r.dbias = Tensor::zeros({size});
    g.dbias = {r.dbias.data(), bias.dims, bias.strides};
  }
  attention_backward(a.inputs, p.spec, view_of(r.out), r.saved(), a.dout_view, g,
                     a.dlse ? a.dlse.data() : nullptr);
  return r;
}

std::vector<double> rows_of(const HeadsView<const float>& x, const Offsets& offsets, int64_t n) {
  std::vector<double> values;
  const float* first =
      x.data + (x.sequence_stride != 0 ? n * x.sequence_stride : offsets.begin(n) * x.stride(0));
  for (int64_t t = 0; t < offsets.length(n); ++t) {
    for (int64_t h = 0; h < x.dim(1); ++h) {
      for (int64_t c = 0; c < x.dim(2); ++c)
        values.push_back(static_cast<double>(first[t * x.stride(0) + h * x.stride(1) + c]));
    }
  }
  return values;
}

bool kept_by(const AttentionSpec& spec, int64_t row, int64_t heads, int64_t h, int64_t j) {
  const auto below = static_cast<uint32_t>(std::lround(spec.dropout * 65536.0f));
  const auto random_row = static_cast<uint32_t>(row * heads + h);
  const uint64_t index = uint64_t{random_row} << 32 | static_cast<uint64_t>(j / 8);
  const uint32_t word = spec.dropout_key.block(index)[static_cast<size_t>(j % 8 / 2)];
  return (word >> (j % 2 * 16) & 0xFFFFu) >= below;
}

reference::Attention make_reference(const Arrays& a, int64_t n) {
  const Problem& p = a.problem;
  reference::Attention r;
  r.lq = a.q_offsets.length(n);
  r.lk = a.k_offsets.length(n);
  r.heads = p.heads;
  r.kv_heads = p.kv_heads;
  r.d = p.d;
  r.dv = p.dv;
  const double usual = p.spec.score == Score::kScaledDot ? 1.0 / std::sqrt(static_cast<double>(p.d)) : 1.0;
  r.scale = p.spec.scale ? static_cast<double>(*p.spec.scale) : usual;
  r.softcap = static_cast<double>(p.spec.softcap);
  r.causal = p.spec.causal;
  r.left = p.spec.window_left;
  r.right = p.spec.window_right;
  r.cosine = p.spec.score == Score::kCosine;
  r.q = rows_of(a.inputs.q, a.q_offsets, n);
  r.k = rows_of(a.inputs.k, a.k_offsets, n);
  r.v = rows_of(a.inputs.v, a.k_offsets, n);
  r.neg_squared_l2 = p.spec.score == Score::kNegSquaredL2;
  r.neg_squared_lorentz = p.spec.score == Score::kNegSquaredLorentz;
  for (const float s : a.inputs.scales) r.scales.push_back(static_cast<double>(s));
  for (const float s : a.inputs.sinks) r.sinks.push_back(static_cast<double>(s));
  if (p.spec.normalizer == Normalizer::kSoftmaxOne) r.sinks.assign(static_cast<size_t>(p.heads), 0.0);
  const auto element = [n](const auto& view, int64_t h, int64_t i, int64_t j) {
    return view.data[n * view.stride(0) + h * view.stride(1) + i * view.stride(2) + j * view.stride(3)];
  };
  if (!p.bias.empty()) {
    r.full_bias = [&a, element](int64_t h, int64_t i, int64_t j) {
      return static_cast<double>(element(a.inputs.bias, h, i, j));
    };
  }
  if (!p.mask.empty() || p.blocks != Problem::Blocks::kNone) {
    r.allowed = [&a, &p, element, n](int64_t h, int64_t i, int64_t j) {
      if (!p.mask.empty() && element(a.inputs.mask, h, i, j) == 0) return false;
      if (p.blocks == Problem::Blocks::kNone) return true;
      const uint64_t of_sequence = p.blocks == Problem::Blocks::kOne ? 0 : static_cast<uint64_t>(n) * 10;
      const uint64_t of_head = p.blocks == Problem::Blocks::kPerHead ? static_cast<uint64_t>(h) : 0;
      return block_sees(p.seed + of_sequence + of_head, i, j);
    };
  }
  if (a.keeps) {
    r.allowed = [&a, masks = r.allowed, n](int64_t h, int64_t i, int64_t j) {
      return (!masks || masks(h, i, j)) && a.keeps(n, h, i, j);
    };
  }
  if (p.alibi || p.relative) {
    r.bias = [&a, &p](int64_t h, int64_t e) {
      double b = 0;
      if (p.alibi) b -= static_cast<double>(a.slopes.data()[h]) * static_cast<double>(std::abs(e));
      if (p.relative)
        b += static_cast<double>(a.table.data()[relative_row(relative_of(a), -e) * p.heads + h]);
      return b;
    };
  }
  if (a.dlse) {
    const float* rows = a.dlse.data() + a.q_offsets.begin(n) * p.heads;
    r.dlse.assign(rows, rows + r.lq * p.heads);
  }
  if (p.spec.dropout > 0) {
    const double below = std::round(static_cast<double>(p.spec.dropout) * 65536.0);
    r.keep_scale = 65536.0 / (65536.0 - below);
    const int64_t first = a.q_offsets.begin(n);
    r.kept = [&p, first](int64_t h, int64_t i, int64_t j) {
      return kept_by(p.spec, first + i, p.heads, h, j);
    };
  }
  return r;
}

ParameterSums::ParameterSums(const Arrays& a)
    : dslopes(static_cast<size_t>(a.problem.heads)),
      dtable(static_cast<size_t>(16 * a.problem.heads)),
      dsinks(static_cast<size_t>(a.problem.heads)),
      dscales(static_cast<size_t>(a.problem.heads)),
      dbias(a.problem.bias.empty() ? 0 : static_cast<size_t>(held_elements(a.problem.bias, a))) {}

void ParameterSums::add(const Arrays& a, int64_t n, const reference::Attention& r) {
  const Problem& p = a.problem;
  for (int64_t h = 0; h < p.heads; ++h) {
    for (int64_t i = 0; i < r.lq; ++i) {
      for (int64_t j = 0; j < r.lk; ++j) {
        const int64_t e = i + r.lk - r.lq - j;
        const double g = r.dbias[static_cast<size_t>((h * r.lq + i) * r.lk + j)];
        if (!p.bias.empty()) {
          const ScoresView<float> v = scores_view(nullptr, p.bias, p.keys_outer, a);
          dbias[static_cast<size_t>(n * v.stride(0) + h * v.stride(1) + i * v.stride(2) + j * v.stride(3))] +=
              g;
        }
        dslopes[static_cast<size_t>(h)] -= g * static_cast<double>(std::abs(e));
        dtable[static_cast<size_t>(relative_row(relative_of(a), -e) * p.heads + h)] += g;
      }
    }
    dscales[static_cast<size_t>(h)] += r.dscales[static_cast<size_t>(h)];
    if (!r.sinks.empty()) dsinks[static_cast<size_t>(h)] += r.dsinks[static_cast<size_t>(h)];
  }
}

}  // namespace fovea::testing
