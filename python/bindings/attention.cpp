// One attention call: what was given, kept alive, and the three things to do with it.
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "arrays.hpp"
#include "bindings.hpp"
#include "engine.hpp"
#include "fovea/attention/merge.hpp"
#include "fovea/attention/top_k_places.hpp"
#include "insight.hpp"
#include "relative.hpp"

namespace nb = nanobind;

namespace fovea::python {
namespace {

// How heads lie in memory: [B, H, L, D], or [B, L, H, D] (packed: [T, H, D]).
enum class Layout { kHeadsFirst, kTokensFirst };

// The set of each key of the packed batch.
using KeySets = std::optional<DenseArray<const int32_t, 1>>;

// AttentionOverride, and what it points into.
struct Override {
  std::vector<HeadOverride> heads;
  std::vector<int64_t> permutation;
  std::optional<Array<const float, 4>> log_weights;
  AttentionOverride view() const { return {heads, permutation, scores_view<float>(log_weights)}; }
};

template <class T>
class AttentionCall {
 public:
  using Real = typename Engine<T>::Real;
  using Heads = AnyArray<const typename Engine<T>::Held>;
  using Row = std::optional<DenseArray<const Real, 1>>;
  using Table = std::optional<DenseArray<const Real, 2>>;
  using Bias = std::optional<Array<const Real, 4>>;
  using Mask = std::optional<Array<const uint8_t, 4>>;

  AttentionCall(Heads q, Heads k, Heads v, std::vector<int64_t> q_offsets, std::vector<int64_t> k_offsets,
                AttentionSpec spec, std::optional<double> scale, double softcap, Row alibi, Row sinks,
                Row scales, Table table, const Relative& relative, Bias bias,
                std::array<int64_t, 4> bias_dims, Mask mask, std::vector<BlockMask> blocks,
                Override override_heads)
      : q_(std::move(q)),
        k_(std::move(k)),
        v_(std::move(v)),
        alibi_(std::move(alibi)),
        sinks_(std::move(sinks)),
        scales_(std::move(scales)),
        table_(std::move(table)),
        bias_(std::move(bias)),
        bias_dims_(bias_dims),
        mask_(std::move(mask)),
        blocks_(std::move(blocks)),
        override_(std::move(override_heads)),
        spec_(spec) {
    inputs_.q = heads_view<T>(q_);
    inputs_.k = heads_view<T>(k_);
    inputs_.v = heads_view<T>(v_);
    AttentionInputs& rest = Engine<T>::rest(inputs_);
    rest.relative = relative.view();
    Engine<T>::set(inputs_, spec_,
                   Parameters<Real>{row_span(alibi_), row_span(sinks_), row_span(scales_), table_span(),
                                    scores_view<Real>(bias_)},
                   {scale, softcap});
    rest.q_offsets = Offsets(std::move(q_offsets));
    rest.k_offsets = Offsets(std::move(k_offsets));
    rest.mask = scores_view<uint8_t>(mask_);
    rest.blocks = blocks_;
    rest.override_heads = override_.view();
  }

  // What the softmax leaves of each row: of float32 and 16-bit calls [T, H, 2] (SoftmaxRow), of float64 ones
  // [T, H, 1] (the lse, from which they find their rows again).
  using Saved = DenseArray<const Real, 3>;
  using Shares = std::optional<DenseArray<const float, 2>>;

  // (out, what was seen as a dictionary of what there is)
  nb::tuple forward(Observers observers, const KeySets& key_sets, Layout layout) const {
    Tensor out, lse, saved;
    Insight seen;
    if (key_sets) observers.key_sets = {key_sets->data(), key_sets->size()};
    {
      const nb::gil_scoped_release release;
      const HeadsView<T> view = make(out, q_, heads(), inputs_.v.dim(2), layout);
      lse = Tensor::empty({rows(), heads()}, dtype_of<Real>);
      if constexpr (std::is_same_v<Real, float>) {
        saved = Tensor::empty({rows(), heads(), 2});
        attention_forward(inputs_, spec_, view, {lse.data(), softmax_rows(saved)}, observers, &seen);
      } else {
        attention_forward(inputs_, spec_, view, lse.data<Real>(), observers, &seen);
        saved = lse.reshape({rows(), heads(), 1});
      }
    }
    return nb::make_tuple(to_numpy(out), to_dict(lse, saved, seen));
  }

  // `wanted`: which of alibi, sinks, scale, relative and bias, as far as they were given, need a gradient.
  nb::dict backward(const Heads& out, const Saved& saved, const Heads& dout,
                    const std::optional<DenseArray<const Real, 2>>& dlse, Layout q_layout, Layout k_layout,
                    Layout v_layout, const std::vector<std::string>& wanted) const {
    const auto wants = [&wanted](const char* name) {
      return std::ranges::find(wanted, name) != wanted.end();
    };
    Tensor dq, dk, dv, dalibi, dsinks, dscales, dtable, dbias;
    {
      const nb::gil_scoped_release release;
      typename Engine<T>::Gradients gradients;
      gradients.dq = make(dq, q_, heads(), inputs_.q.dim(2), q_layout);
      gradients.dk = make(dk, k_, inputs_.k.dim(1), inputs_.k.dim(2), k_layout);
      gradients.dv = make(dv, v_, inputs_.v.dim(1), inputs_.v.dim(2), v_layout);
      ParameterGradients<Real> parameters;
      if (alibi_ && wants("alibi")) parameters.dalibi = head_row(dalibi);
      if (sinks_ && wants("sinks")) parameters.dsinks = head_row(dsinks);
      if (scales_ && wants("scale")) parameters.dscales = head_row(dscales);
      if (table_ && wants("relative")) {
        dtable = Tensor::zeros({static_cast<int64_t>(table_->shape(0)), heads()}, dtype_of<Real>);
        parameters.dtable = dtable.data<Real>();
      }
      if (bias_ && wants("bias")) {
        dbias = Tensor::zeros(Shape(std::span<const int64_t>(bias_dims_)), dtype_of<Real>);
        parameters.dbias =
            broadcast_scores<Real>(dbias.data<Real>(), bias_dims_, scores_view<Real>(bias_).dims);
      }
      Engine<T>::set(gradients, parameters);
      attention_backward(inputs_, spec_, heads_view<T>(out), softmax_of(saved), heads_view<T>(dout),
                         gradients, dlse ? dlse->data() : nullptr);
    }
    nb::dict result;
    const auto keep = [&](const char* name, const Tensor& x) {
      if (x.defined()) result[name] = to_numpy(x);
    };
    keep("dq", dq);
    keep("dk", dk);
    keep("dv", dv);
    keep("dalibi", dalibi);
    keep("dsinks", dsinks);
    keep("dscale", dscales);
    keep("drelative", dtable);
    keep("dbias", dbias);
    return result;
  }

  // (weights [Σ Lk, H], offsets): the weights of queries[n] are rows [offsets[n], offsets[n + 1]).
  nb::tuple weight_rows(const std::vector<int64_t>& queries, const Shares& shares) const {
    Ragged weights;
    {
      const nb::gil_scoped_release release;
      if constexpr (std::is_same_v<Real, float>) {
        weights = attention_rows(inputs_, spec_, queries, shares ? shares->data() : nullptr);
      } else {
        weights = attention_rows(inputs_, spec_, queries);
      }
    }
    const auto offsets = weights.offsets.values();
    return nb::make_tuple(to_numpy(weights.tokens), std::vector<int64_t>(offsets.begin(), offsets.end()));
  }

  // [Tk, H], for what the softmax left of the same rows, or of a whole of which these keys are a part.
  nb::object key_mass(const Saved& saved) const
    requires std::is_same_v<Real, float>
  {
    Tensor mass;
    {
      const nb::gil_scoped_release release;
      mass = attention_key_mass(inputs_, spec_, softmax_of(saved));
    }
    return to_numpy(mass);
  }

  // (mass, standard error), [Tk, H] each.
  nb::tuple sampled_mass(int64_t samples, uint64_t seed, const Shares& shares) const
    requires std::is_same_v<Real, float>
  {
    SampledKeyMass found;
    {
      const nb::gil_scoped_release release;
      found = sampled_key_mass(inputs_, spec_, samples, {seed, 0}, shares ? shares->data() : nullptr);
    }
    return nb::make_tuple(to_numpy(found.mass), to_numpy(found.standard_error));
  }

  static void bind(nb::module_& m, const char* name) {
    nb::class_<AttentionCall> bound(m, name);
    bound
        .def(nb::init<Heads, Heads, Heads, std::vector<int64_t>, std::vector<int64_t>, AttentionSpec,
                      std::optional<double>, double, Row, Row, Row, Table, const Relative&, Bias,
                      std::array<int64_t, 4>, Mask, std::vector<BlockMask>, Override>(),
             nb::kw_only(), nb::arg("q").noconvert(), nb::arg("k").noconvert(), nb::arg("v").noconvert(),
             nb::arg("q_offsets"), nb::arg("k_offsets"), nb::arg("spec"), nb::arg("scale").none(),
             nb::arg("softcap"), nb::arg("alibi").none().noconvert(), nb::arg("sinks").none().noconvert(),
             nb::arg("scales").none().noconvert(), nb::arg("table").none().noconvert(), nb::arg("relative"),
             nb::arg("bias").none().noconvert(), nb::arg("bias_dims"), nb::arg("mask").none().noconvert(),
             nb::arg("blocks"), nb::arg("override_heads"))
        .def("forward", &AttentionCall::forward, nb::arg("observers"), nb::arg("key_sets").none().noconvert(),
             nb::arg("layout"))
        .def("backward", &AttentionCall::backward, nb::kw_only(), nb::arg("out").noconvert(),
             nb::arg("saved").noconvert(), nb::arg("dout").noconvert(), nb::arg("dlse").none().noconvert(),
             nb::arg("q_layout"), nb::arg("k_layout"), nb::arg("v_layout"), nb::arg("wanted"))
        .def("rows", &AttentionCall::weight_rows, nb::kw_only(), nb::arg("queries"),
             nb::arg("shares").none().noconvert() = nb::none());
    if constexpr (std::is_same_v<Real, float>) {
      bound
          .def("sampled_key_mass", &AttentionCall::sampled_mass, nb::kw_only(), nb::arg("samples"),
               nb::arg("seed"), nb::arg("shares").none().noconvert() = nb::none())
          .def("key_mass", &AttentionCall::key_mass, nb::kw_only(), nb::arg("saved").noconvert());
    }
  }

 private:
  static auto softmax_of(const Saved& saved) {
    if constexpr (std::is_same_v<Real, float>) {
      return SoftmaxInput(reinterpret_cast<const SoftmaxRow*>(saved.data()));
    } else {
      return saved.data();
    }
  }
  int64_t rows() const { return inputs_.q.dim(0); }
  int64_t heads() const { return inputs_.q.dim(1); }
  std::span<const Real> table_span() const {
    return table_ ? std::span<const Real>(table_->data(), table_->size()) : std::span<const Real>();
  }

  // Empty heads for the tokens of x, [B, L, H, D] or packed.
  static HeadsView<T> make(Tensor& made, const Heads& x, int64_t count, int64_t width, Layout layout) {
    const auto size = [&x](size_t i) { return static_cast<int64_t>(x.shape(i)); };
    if (x.ndim() == 3) {
      made = Tensor::empty({size(0), count, width}, dtype_of<T>);
      return contiguous_view<T, 3>(made.data<T>(), {size(0), count, width});
    }
    const int64_t batch = size(0), length = size(1);
    if (layout == Layout::kHeadsFirst) {
      made = Tensor::empty({batch, count, length, width}, dtype_of<T>);
      return heads_of_batch<T>(made.data<T>(), batch, count, length, width);
    }
    made = Tensor::empty({batch, length, count, width}, dtype_of<T>);
    return contiguous_view<T, 3>(made.data<T>(), {batch * length, count, width});
  }
  Real* head_row(Tensor& made) const {
    made = Tensor::zeros({heads()}, dtype_of<Real>);
    return made.data<Real>();
  }

  Heads q_, k_, v_;
  Row alibi_, sinks_, scales_;
  Table table_;
  Bias bias_;
  std::array<int64_t, 4> bias_dims_;
  Mask mask_;
  std::vector<BlockMask> blocks_;
  Override override_;
  typename Engine<T>::Inputs inputs_;
  AttentionSpec spec_;
};

}  // namespace

void bind_attention(nb::module_& m) {
  auto scores = nb::enum_<Score>(m, "Score");
  for (const ScoreName& known : kScoreNames) scores.value(known.name.data(), known.score);
  nb::enum_<Normalizer>(m, "Normalizer")
      .value("softmax", Normalizer::kSoftmax)
      .value("softmax1", Normalizer::kSoftmaxOne);
  nb::enum_<Precision>(m, "Precision")
      .value("strict", Precision::kStrict)
      .value("high", Precision::kHigh)
      .value("fast", Precision::kFast);
  nb::enum_<Layout>(m, "Layout")
      .value("heads_first", Layout::kHeadsFirst)
      .value("tokens_first", Layout::kTokensFirst);
  nb::enum_<HeadOverride>(m, "HeadOverride")
      .value("none", HeadOverride::kNone)
      .value("uniform", HeadOverride::kUniform)
      .value("permuted", HeadOverride::kPermuted)
      .value("frozen", HeadOverride::kFrozen)
      .value("off", HeadOverride::kOff);
  nb::class_<Override>(m, "Override")
      .def(nb::init<>())
      .def(
          "__init__",
          [](Override* self, std::vector<HeadOverride> heads, std::vector<int64_t> permutation,
             std::optional<Array<const float, 4>> log_weights) {
            new (self) Override{std::move(heads), std::move(permutation), std::move(log_weights)};
          },
          nb::arg("heads"), nb::arg("permutation"), nb::arg("log_weights").none().noconvert());
  nb::class_<Relative>(m, "Relative")
      .def(nb::init<>())
      .def_rw("buckets", &Relative::buckets)
      .def_rw("bidirectional", &Relative::bidirectional)
      .def_rw("rows", &Relative::rows)
      .def_rw("max_distance", &Relative::max_distance);
  nb::class_<AttentionSpec>(m, "AttentionSpec")
      .def(nb::init<>())
      .def_rw("score", &AttentionSpec::score)
      .def_rw("normalizer", &AttentionSpec::normalizer)
      .def_rw("causal", &AttentionSpec::causal)
      .def_rw("window_left", &AttentionSpec::window_left)
      .def_rw("window_right", &AttentionSpec::window_right)
      .def_rw("top_k", &AttentionSpec::top_k)
      .def_rw("dropout", &AttentionSpec::dropout)
      .def_rw("precision", &AttentionSpec::precision)
      .def_prop_rw(
          "seed", [](const AttentionSpec& spec) { return spec.dropout_key.seed; },
          [](AttentionSpec& spec, uint64_t seed) {
            spec.dropout_key = {seed, 0};
          });
  m.def("top_k_places", &top_k_places, nb::arg("k"), nb::arg("keys"));
  nb::class_<Observers>(m, "Observers")
      .def(nb::init<>())
      .def_rw("entropy", &Observers::entropy)
      .def_rw("max", &Observers::max)
      .def_rw("key_mass", &Observers::key_mass)
      .def_rw("top_k", &Observers::top_k)
      .def_rw("effective_keys", &Observers::effective_keys)
      .def_rw("distance", &Observers::distance)
      .def_rw("first_key", &Observers::first_key)
      .def_rw("near_left", &Observers::near_left)
      .def_rw("near_right", &Observers::near_right)
      .def_rw("key_set_count", &Observers::key_set_count)
      .def_rw("block_mass", &Observers::block_mass);
  AttentionCall<float>::bind(m, "AttentionCall_float32");
  AttentionCall<double>::bind(m, "AttentionCall_float64");
  AttentionCall<BFloat16>::bind(m, "AttentionCall_bfloat16");
  AttentionCall<Float16>::bind(m, "AttentionCall_float16");
}

}  // namespace fovea::python
