#include "tests/attention/problem.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>

namespace fovea::testing {
namespace {

constexpr double kEps = 0x1p-23;

Tensor random_tensor(Random& random, const Shape& shape, double magnitude) {
  Tensor x = Tensor::empty(shape);
  for (float& value : x.span()) value = static_cast<float>(magnitude * random.normal());
  return x;
}

// The rows of sequence n in float64, contiguous.
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

double largest(const std::vector<double>& x) {
  double most = 0;
  for (const double value : x) most = std::max(most, std::abs(value));
  return most;
}

HeadsView<const float> view_of(const Tensor& x) {
  return contiguous_view<const float, 3>(x.data(), {x.dim(0), x.dim(1), x.dim(2)});
}

// max |dP| + max |δ|, dP = dout·v scaled by dropout, δ = dout·out − dlse.
double largest_gradient(const reference::Attention& r, const std::vector<double>& dout) {
  double dp_most = 0, delta_most = 0;
  for (int64_t h = 0; h < r.heads; ++h) {
    for (int64_t i = 0; i < r.lq; ++i) {
      const double* go = r.row(dout, i, h, r.heads, r.dv);
      double delta = r.dlse.empty() ? 0 : -r.dlse[static_cast<size_t>(i * r.heads + h)];
      for (int64_t c = 0; c < r.dv; ++c) delta += go[c] * r.row(r.out, i, h, r.heads, r.dv)[c];
      delta_most = std::max(delta_most, std::abs(delta));
      for (int64_t j = 0; j < r.lk; ++j) {
        double dp = 0;
        for (int64_t c = 0; c < r.dv; ++c)
          dp += go[c] * r.row(r.v, j, h / (r.heads / r.kv_heads), r.kv_heads, r.dv)[c];
        dp_most = std::max(dp_most, std::abs(dp));
      }
    }
  }
  return dp_most * r.keep_scale + delta_most;
}

int failures = 0;

void compare(const Tensor& got, int64_t begin, const std::vector<double>& want, double tolerance,
             const char* what, const std::string& description) {
  const int64_t width = got.dim(0) == 0 ? 0 : got.numel() / got.dim(0);
  for (size_t i = 0; i < want.size(); ++i) {
    const double value = static_cast<double>(got.data()[begin * width + static_cast<int64_t>(i)]);
    const bool same_infinity = std::isinf(want[i]) && value == want[i];
    if (same_infinity || std::abs(value - want[i]) <= tolerance) continue;
    if (++failures < 20) {
      ADD_FAILURE() << what << "[" << i << "] expected " << want[i] << ", got " << value << ", tolerance "
                    << tolerance << " in " << description;
    }
    return;
  }
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

double summed_rows(const Problem& p, int64_t queries) {
  return (p.bias[1] ? 1.0 : static_cast<double>(p.heads)) * (p.bias[2] ? 1.0 : static_cast<double>(queries));
}

void expect_equal_to_reference(const Arrays& a, const Results& results, bool backward) {
  const Problem& p = a.problem;
  const std::string description = p.describe();
  ParameterSums sums(a);
  double parameter_tolerance = 0, scale_tolerance = 0, bias_tolerance = 0;
  for (int64_t n = 0; n < a.q_offsets.count(); ++n) {
    reference::Attention r = make_reference(a, n);
    r.forward();
    const auto root = [](int64_t x) { return std::sqrt(static_cast<double>(x)); };
    const double qm = largest(r.q), km = largest(r.k), vm = largest(r.v);
    double products = 0, bias = 0, full_bias = 0, lse = 0, scale = 0;
    for (int64_t h = 0; h < p.heads; ++h) {
      for (int64_t i = 0; i < r.lq; ++i) {
        const double l = r.lse[static_cast<size_t>(i * p.heads + h)];
        if (std::isfinite(l)) lse = std::max(lse, std::abs(l));
        for (int64_t j = 0; j < r.lk; ++j) {
          if (!r.sees(h, i, j)) continue;
          double sum = 0;
          const double* x = r.row(r.q, i, h, r.heads, r.d);
          const double* y = r.row(r.k, j, h / (r.heads / r.kv_heads), r.kv_heads, r.d);
          const bool distance = r.neg_squared_l2 || r.neg_squared_lorentz;
          for (int64_t c = 0; c < r.d; ++c)
            sum += distance ? (x[c] - y[c]) * (x[c] - y[c]) : std::abs(x[c] * y[c]);
          if (r.cosine) sum = 1;
          if (r.neg_squared_lorentz) sum += std::pow(r.time(x, r.d) - r.time(y, r.d), 2);
          products = std::max(products, sum);
          if (r.bias) bias = std::max(bias, std::abs(r.bias(h, i + r.lk - r.lq - j)));
          if (r.full_bias) full_bias = std::max(full_bias, std::abs(r.full_bias(h, i, j)));
        }
      }
    }
    for (int64_t h = 0; h < p.heads; ++h) scale = std::max(scale, std::abs(r.scale_of(h)));
    const double s = kEps * (6 * products * scale + r.softcap + bias + full_bias);
    const double w = 2 * s + 4 * kEps + kEps * lse + 3 * kEps * root(r.lk);
    compare(results.lse, a.q_offsets.begin(n), r.lse, s + kEps * (lse + 4), "lse", description);
    compare(results.out, a.q_offsets.begin(n), r.out, w * vm * r.keep_scale, "out", description);
    if (!backward) continue;
    const std::vector<double> dout = rows_of(a.dout_view, a.q_offsets, n);
    r.backward(dout);
    double total = 0, mass = 0;
    for (int64_t i = 0; i < r.lq * p.heads; ++i) {
      double sum = 0;
      for (int64_t c = 0; c < p.dv; ++c) sum += std::abs(dout[static_cast<size_t>(i * p.dv + c)]);
      total = std::max(total, sum);
    }
    for (int64_t g = 0; g < p.kv_heads; ++g) {
      for (int64_t j = 0; j < r.lk; ++j) {
        double sum = 0;
        for (int64_t h = g * p.heads / p.kv_heads; h < (g + 1) * p.heads / p.kv_heads; ++h) {
          for (int64_t i = 0; i < r.lq; ++i) sum += r.weights[static_cast<size_t>((h * r.lq + i) * r.lk + j)];
        }
        mass = std::max(mass, sum);
      }
    }
    const double ds = largest_gradient(r, dout) * w + 8 * kEps * total * vm * r.keep_scale;
    double qs = qm, ks = km;
    if (r.cosine) {  // the gradient of x/|x| is divided by |x|; rows are random, the shortest bounds it
      double shortest_q = 1e30, shortest_k = 1e30;
      for (int64_t i = 0; i < r.lq * p.heads; ++i)
        shortest_q = std::min(shortest_q, reference::Attention::norm(r.q.data() + i * p.d, p.d));
      for (int64_t i = 0; i < r.lk * p.kv_heads; ++i)
        shortest_k = std::min(shortest_k, reference::Attention::norm(r.k.data() + i * p.d, p.d));
      ks = 4 / shortest_q;
      qs = 4 / shortest_k;
    }
    if (r.neg_squared_l2) qs = ks = 2 * (qm + km);  // the derivative is 2(k − q)
    // 2(k − q) − 2(t(k) − t(q))·q/t(q), where |t(k) − t(q)| ≤ |k − q| and no column of q/t(q) is above 1.
    if (r.neg_squared_lorentz) qs = ks = 2 * (qm + km) * (1 + root(p.d));
    compare(results.dq, a.q_offsets.begin(n), r.dq, ds * scale * ks, "dq", description);
    compare(results.dk, a.k_offsets.begin(n), r.dk, ds * scale * qs * std::max(1.0, mass), "dk", description);
    compare(results.dv, a.k_offsets.begin(n), r.dv_out,
            w * largest(dout) * r.keep_scale * std::max(1.0, mass) * 2, "dv", description);
    sums.add(a, n, r);
    parameter_tolerance += ds * static_cast<double>(r.lq);
    scale_tolerance += ds * static_cast<double>(r.lq) * products;
    if (!p.bias.empty()) {
      const double more = ds * summed_rows(p, r.lq);
      bias_tolerance = p.bias[0] ? std::max(bias_tolerance, more) : bias_tolerance + more;
    }
  }
  if (!backward) return;
  int64_t farthest = 1;
  for (size_t n = 0; n < p.q_lengths.size(); ++n)
    farthest = std::max(farthest, p.q_lengths[n] + p.k_lengths[n]);
  if (p.alibi)
    compare(results.dslopes, 0, sums.dslopes, parameter_tolerance * static_cast<double>(farthest), "dslopes",
            description);
  if (p.relative) compare(results.dtable, 0, sums.dtable, parameter_tolerance, "dtable", description);
  if (p.scales) compare(results.dscales, 0, sums.dscales, scale_tolerance, "dscales", description);
  if (!p.bias.empty()) compare(results.dbias, 0, sums.dbias, bias_tolerance, "dbias", description);
  if (p.sinks) compare(results.dsinks, 0, sums.dsinks, parameter_tolerance, "dsinks", description);
}

void expect_same_bits(const Tensor& a, const Tensor& b, const std::string& what) {
  ASSERT_EQ(a.shape(), b.shape()) << what;
  if (a.nbytes() == 0 || std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.nbytes())) == 0) return;
  if (a.dtype() != DType::kF32) {
    ADD_FAILURE() << what << " differs";
    return;
  }
  for (int64_t i = 0; i < a.numel(); ++i) {
    if (std::memcmp(a.data() + i, b.data() + i, 4) != 0) {
      ADD_FAILURE() << what << "[" << i << "]: " << a.data()[i] << " and " << b.data()[i];
      return;
    }
  }
}

}  // namespace fovea::testing
