#include "fovea/autograd/functions/attention.hpp"

#include <fmt/ranges.h>

#include "autograd/rounded_products.hpp"
#include "autograd/support.hpp"
#include "fovea/attention/half.hpp"

namespace fovea::autograd {
namespace {

// Where q, k and v stand: the columns from `first` of input tensor number `input`.
struct Place {
  int input = 0;
  int64_t first = 0;
  int64_t heads = 1;
  int64_t width = 1;
};

template <class T>
HeadsView<T> heads_at(T* data, const Tensor& matrix, const Place& place) {
  return heads_of_columns(data, matrix.dim(0), matrix.dim(1), place.first, place.heads, place.width);
}
template <class T>
HeadsView<const T> read(const Tensor& matrix, const Place& place) {
  return heads_at(matrix.data<T>(), matrix, place);
}

// One to three matrices that hold q, k and v between them, then table, slopes, sinks, scales and bias.
constexpr int kExtras = 5;
constexpr int kTensors = 3 + kExtras;

std::array<int64_t, 4> dims_of(const Tensor& scores) {
  return {scores.dim(0), scores.dim(1), scores.dim(2), scores.dim(3)};
}

struct Layout {
  int matrices = 3;
  Place q, k, v;
};

// The call in the element type T of its matrices.
template <class T>
HalfAttentionInputs<T> half_inputs(const Layout& layout, const AttentionCall& call) {
  const auto at = [&](const Place& place) {
    return read<T>(call.tensors[static_cast<size_t>(place.input)], place);
  };
  return {at(layout.q), at(layout.k), at(layout.v), call.inputs};
}

// T: of q, k, v and out as the kernels read and write them.
template <class T>
class AttentionFunction final : public Function {
 public:
  AttentionFunction(const Layout& layout, AttentionCall call, Tensor out,
                    const std::optional<RotarySpec>& rotary, const std::array<DType, 3>& dtypes)
      : layout_(layout), call_(std::move(call)), out_(std::move(out)), rotary_(rotary), dtypes_(dtypes) {}
  const char* name() const override { return "attention"; }

  void backward(Tensor dy) override {
    std::array<Tensor, 3> grads;
    for (int i = 0; i < layout_.matrices; ++i) {
      if (needs(i)) grads[at(i)] = Tensor::empty(call_.tensors[at(i)].shape(), dtype_of<T>);
    }
    AttentionGradients wanted;
    wanted.dtable = extra(0);
    wanted.dslopes = extra(1);
    wanted.dsinks = extra(2);
    wanted.dscales = extra(3);
    if (float* dbias = extra(4)) {
      wanted.dbias = broadcast_scores(dbias, dims_of(call_.tensors[kTensors - 1]), call_.inputs.bias.dims);
    }
    const Place whole{0, 0, layout_.q.heads, layout_.v.width};
    if constexpr (std::is_same_v<T, float>) {
      dy = widened(dy);
      wanted.dq = view<float>(grads, layout_.q);
      wanted.dk = view<float>(grads, layout_.k);
      wanted.dv = view<float>(grads, layout_.v);
      attention_backward(call_.inputs, call_.spec, read<T>(out_, whole), saved(), read<T>(dy, whole), wanted);
    } else {
      dy = rounded(dy, Precision::kBFloat16);
      attention_backward<T>(
          half_inputs<T>(layout_, call_), call_.spec, read<T>(out_, whole), saved(), read<T>(dy, whole),
          {view<T>(grads, layout_.q), view<T>(grads, layout_.k), view<T>(grads, layout_.v), wanted});
    }
    out_ = {};
    dy = {};
    for (int i = 0; i < layout_.matrices; ++i) {
      if (!needs(i)) continue;
      call_.tensors[at(i)] = {};
      if (rotary_ || dtypes_[at(i)] == DType::kF32) grads[at(i)] = widened(grads[at(i)]);
    }
    if (rotary_) {
      if (needs(layout_.q.input)) {
        rotary_backward(view<float>(grads, layout_.q), call_.inputs.q_offsets, *rotary_);
      }
      if (needs(layout_.k.input)) {
        rotary_backward(view<float>(grads, layout_.k), call_.inputs.k_offsets, *rotary_);
      }
    }
    for (int i = 0; i < layout_.matrices; ++i) {
      if (needs(i)) give(i, std::move(grads[at(i)]));
    }
  }

 private:
  const SoftmaxRow* saved() const { return reinterpret_cast<const SoftmaxRow*>(call_.softmax_rows.data()); }
  static size_t at(int i) { return static_cast<size_t>(i); }
  template <class Element>
  static HeadsView<Element> view(std::array<Tensor, 3>& grads, const Place& place) {
    Tensor& g = grads[at(place.input)];
    if (!g.defined()) return {};
    return heads_at(g.data<Element>(), g, place);
  }
  float* extra(int i) {
    const int input = layout_.matrices + i;
    if (!needs(input)) return nullptr;
    auto [grad, accumulate] = target(input);
    zero_unless(accumulate, grad);
    return grad.data();
  }

  Layout layout_;
  AttentionCall call_;
  Tensor out_;
  std::optional<RotarySpec> rotary_;
  std::array<DType, 3> dtypes_;  // of the inputs: the gradient of a bf16 one is bf16
};

int64_t key_heads_of(const char* op, const AttentionOptions& options) {
  const int64_t key_heads = options.key_heads == 0 ? options.heads : options.key_heads;
  check_argument(options.heads >= 1 && key_heads >= 1 && options.heads % key_heads == 0, op,
                 "expected key heads that divide the heads, got {} heads and {} key heads", options.heads,
                 key_heads);
  return key_heads;
}

int64_t width_of(const char* op, const char* what, const Var& x, int64_t heads) {
  check_operand(op, what, x, 2);
  check_argument(x.dim(1) > 0 && x.dim(1) % heads == 0, op, "expected {} of {} heads of equal width, got {}",
                 what, heads, to_string(x.shape()));
  return x.dim(1) / heads;
}

// Memory in float32 that may be turned in place: the Var's own when nobody else holds it.
Tensor own(Var& x) {
  if (x.value().dtype() == DType::kBF16) return widened(x.value());
  return x.value().unique() ? std::move(x.value()) : x.value().clone();
}

// A tensor of the dimensions of all scores, or 1 where it is broadcast; or undefined.
void check_scores(const char* op, const char* what, const Tensor& t, DType dtype,
                  const std::array<int64_t, 4>& scores) {
  if (!t.defined()) return;
  bool fits = t.rank() == 4 && t.dtype() == dtype;
  for (int axis = 0; fits && axis < 4; ++axis)
    fits = t.dim(axis) == 1 || t.dim(axis) == scores[static_cast<size_t>(axis)];
  check_argument(fits, op, "expected {} of {} [{}] (or 1 along an axis), got {} {}", what, to_string(dtype),
                 fmt::join(scores, ", "), to_string(t.dtype()), to_string(t.shape()));
}

// matrices[0 … layout.matrices) hold the (possibly turned) q, k and v; vars are what they came from.
Var run(const char* op, const Layout& layout, std::array<Tensor, 3> matrices, std::initializer_list<Var> vars,
        const Offsets& q_offsets, const Offsets& k_offsets, const AttentionOptions& options) {
  const Tensor& table = options.relative_table.value();
  const Tensor& slopes = options.alibi_slopes.value();
  const Tensor& sinks = options.sinks.value();
  check_optional_vector(op, "alibi slopes", slopes, options.heads);
  check_optional_vector(op, "sinks", sinks, options.heads);
  check_argument(!table.defined() || (table.rank() == 2 && table.dim(1) == options.heads), op,
                 "expected a relative table [buckets, {}], got {}", options.heads,
                 table.defined() ? to_string(table.shape()) : "");
  const std::array<int64_t, 4> scores{q_offsets.count(), options.heads, q_offsets.max_length(),
                                      k_offsets.max_length()};
  const Tensor& scales = options.scales.value();
  const Tensor& bias = options.bias.value();
  check_optional_vector(op, "scales", scales, options.heads);
  check_scores(op, "a bias", bias, DType::kF32, scores);
  check_scores(op, "a mask", options.mask, DType::kBool, scores);
  check_argument(options.result == DType::kF32 || options.result == product_dtype(), op,
                 "expected a result of float32, or of bfloat16 in bf16 precision, got {}",
                 to_string(options.result));
  // A recorded call is read in float32 afterwards.
  const bool half = current_precision() == Precision::kBFloat16 && options.call == nullptr;
  for (Tensor& matrix : matrices) {
    if (matrix.defined()) matrix = half ? rounded(matrix, Precision::kBFloat16) : widened(matrix);
  }
  AttentionCall call{
      .inputs = {},
      .spec = options.spec,
      .softmax_rows = {},
      .tensors = {matrices[0], matrices[1], matrices[2], table, slopes, sinks, scales, bias, options.mask},
      .blocks = nullptr};
  call.inputs.q_offsets = q_offsets;
  call.inputs.k_offsets = k_offsets;
  const auto place_of = [&](const Place& place) -> const Tensor& {
    return call.tensors[static_cast<size_t>(place.input)];
  };
  if (!half) {
    call.inputs.q = read<float>(place_of(layout.q), layout.q);
    call.inputs.k = read<float>(place_of(layout.k), layout.k);
    call.inputs.v = read<float>(place_of(layout.v), layout.v);
  }
  if (slopes.defined()) call.inputs.alibi_slopes = slopes.span();
  if (sinks.defined()) call.inputs.sinks = sinks.span();
  if (table.defined()) {
    call.inputs.relative = {table.data(), table.dim(0), options.relative_max_distance,
                            options.relative_bidirectional, options.relative_kind};
  }
  if (scales.defined()) call.inputs.scales = scales.span();
  if (bias.defined()) call.inputs.bias = broadcast_scores(bias.data(), dims_of(bias), scores);
  if (options.mask.defined()) {
    call.inputs.mask =
        broadcast_scores(static_cast<const uint8_t*>(options.mask.raw()), dims_of(options.mask), scores);
  }
  if (!options.blocks.empty()) {
    call.blocks = std::make_shared<const std::vector<BlockMask>>(options.blocks);
    call.inputs.blocks = *call.blocks;
  }
  const std::array<const Var*, kExtras> extras{&options.relative_table, &options.alibi_slopes, &options.sinks,
                                               &options.scales, &options.bias};
  bool wanted = recording({extras[0], extras[1], extras[2], extras[3], extras[4]});
  for (const Var& v : vars) wanted = wanted || recording({&v});
  const int64_t tokens = place_of(layout.q).dim(0);
  SoftmaxOutput softmax;
  if (wanted) {
    call.softmax_rows = Tensor::empty({tokens, options.heads, 2});
    softmax.rows = reinterpret_cast<SoftmaxRow*>(call.softmax_rows.data());
  }
  Tensor out = Tensor::empty({tokens, options.heads * layout.v.width}, half ? DType::kBF16 : DType::kF32);
  const Place whole{0, 0, options.heads, layout.v.width};
  if (half) {
    attention_forward(half_inputs<BFloat16>(layout, call), call.spec,
                      heads_at(out.data<BFloat16>(), out, whole), softmax, options.observers, options.seen);
  } else {
    attention_forward(call.inputs, call.spec, heads_at(out.data(), out, whole), softmax, options.observers,
                      options.seen);
  }
  if (options.call != nullptr) *options.call = call;
  Tensor result = options.result == DType::kBF16 ? rounded(out, Precision::kBFloat16) : widened(out);
  if (!wanted) return Var(std::move(result));

  std::array<Var, kTensors> inputs;
  std::array<DType, 3> dtypes{};
  for (size_t i = 0; i < vars.size(); ++i) {
    inputs[i] = vars.begin()[i];
    dtypes[i] = inputs[i].value().dtype();
  }
  for (size_t i = 0; i < extras.size(); ++i) inputs[vars.size() + i] = *extras[i];
  std::unique_ptr<Function> function;
  if (half) {
    function = std::make_unique<AttentionFunction<BFloat16>>(layout, std::move(call), std::move(out),
                                                             options.rotary, dtypes);
  } else {
    function = std::make_unique<AttentionFunction<float>>(layout, std::move(call), std::move(out),
                                                          options.rotary, dtypes);
  }
  return Tape::current()->add(std::move(function), std::move(result),
                              std::span<const Var>(inputs.data(), vars.size() + extras.size()));
}

void turn(Tensor& matrix, const Place& place, const Offsets& offsets,
          const std::optional<RotarySpec>& rotary) {
  if (rotary) rotary_forward(heads_at(matrix.data(), matrix, place), offsets, *rotary);
}

class RotaryFunction final : public Function {
 public:
  RotaryFunction(const Place& place, Offsets offsets, const RotarySpec& spec)
      : place_(place), offsets_(std::move(offsets)), spec_(spec) {}
  const char* name() const override { return "rotary"; }
  void backward(Tensor dy) override {
    Tensor dx = dy.unique() ? std::move(dy) : dy.clone();
    rotary_backward(heads_at(dx.data(), dx, place_), offsets_, spec_);
    give(0, std::move(dx));
  }

 private:
  Place place_;
  Offsets offsets_;
  RotarySpec spec_;
};

}  // namespace

Var attention(Var q, Var k, const Var& v, const Offsets& q_offsets, const Offsets& k_offsets,
              const AttentionOptions& options) {
  const int64_t key_heads = key_heads_of("attention", options);
  const int64_t width = width_of("attention", "q", q, options.heads);
  const int64_t key_width = width_of("attention", "k", k, key_heads);
  check_argument(width == key_width, "attention", "expected heads of q and k of one width, got q {} and k {}",
                 to_string(q.shape()), to_string(k.shape()));
  check_argument(k.dim(0) == v.dim(0), "attention", "expected k and v of equal length, got k {} and v {}",
                 to_string(k.shape()), to_string(v.shape()));
  const Layout layout{3,
                      {0, 0, options.heads, width},
                      {1, 0, key_heads, width},
                      {2, 0, key_heads, width_of("attention", "v", v, key_heads)}};
  check_offsets("attention", q_offsets, q.dim(0));
  check_offsets("attention", k_offsets, k.dim(0));
  std::array<Tensor, 3> matrices{options.rotary ? own(q) : q.value(), options.rotary ? own(k) : k.value(),
                                 v.value()};
  turn(matrices[0], layout.q, q_offsets, options.rotary);
  turn(matrices[1], layout.k, k_offsets, options.rotary);
  return run("attention", layout, std::move(matrices), {q, k, v}, q_offsets, k_offsets, options);
}

Var attention_qkv(Var qkv, const Offsets& offsets, const AttentionOptions& options) {
  const int64_t heads = options.heads;
  const int64_t key_heads = key_heads_of("attention_qkv", options);
  const int64_t width = width_of("attention_qkv", "qkv", qkv, heads + 2 * key_heads);
  check_offsets("attention_qkv", offsets, qkv.dim(0));
  const Layout layout{1,
                      {0, 0, heads, width},
                      {0, heads * width, key_heads, width},
                      {0, (heads + key_heads) * width, key_heads, width}};
  std::array<Tensor, 3> matrices{options.rotary ? own(qkv) : qkv.value()};
  turn(matrices[0], layout.q, offsets, options.rotary);
  turn(matrices[0], layout.k, offsets, options.rotary);
  return run("attention_qkv", layout, std::move(matrices), {qkv}, offsets, offsets, options);
}

Var attention_kv(Var q, Var kv, const Offsets& q_offsets, const Offsets& k_offsets,
                 const AttentionOptions& options) {
  const int64_t key_heads = key_heads_of("attention_kv", options);
  const int64_t width = width_of("attention_kv", "q", q, options.heads);
  const int64_t key_width = width_of("attention_kv", "kv", kv, 2 * key_heads);
  check_argument(width == key_width, "attention_kv",
                 "expected heads of q and kv of one width, got q {} and kv {}", to_string(q.shape()),
                 to_string(kv.shape()));
  check_offsets("attention_kv", q_offsets, q.dim(0));
  check_offsets("attention_kv", k_offsets, kv.dim(0));
  const Layout layout{
      2, {0, 0, options.heads, width}, {1, 0, key_heads, width}, {1, key_heads * width, key_heads, width}};
  std::array<Tensor, 3> matrices{options.rotary ? own(q) : q.value(), options.rotary ? own(kv) : kv.value()};
  turn(matrices[0], layout.q, q_offsets, options.rotary);
  turn(matrices[1], layout.k, k_offsets, options.rotary);
  return run("attention_kv", layout, std::move(matrices), {q, kv}, q_offsets, k_offsets, options);
}

Var rotary(Var x, int64_t heads, const Offsets& offsets, const RotarySpec& spec) {
  check_argument(heads >= 1, "rotary", "expected at least one head, got {}", heads);
  const Place place{0, 0, heads, width_of("rotary", "x", x, heads)};
  check_offsets("rotary", offsets, x.dim(0));
  Tensor y = own(x);
  rotary_forward(heads_at(y.data(), y, place), offsets, spec);
  return record<RotaryFunction>(std::move(y), {x}, place, offsets, spec);
}

}  // namespace fovea::autograd
