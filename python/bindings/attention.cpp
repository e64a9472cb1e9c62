// One attention call: what was given, kept alive, and the three things to do with it.
#include "fovea/attention/attention.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <type_traits>

#include "arrays.hpp"
#include "bindings.hpp"
#include "fovea/attention/half.hpp"

namespace nb = nanobind;

namespace fovea::python {
namespace {

// How the engine is called for an element type T, and as what NumPy holds its elements.
template <class T>
struct Engine {  // 16-bit
  using Held = uint16_t;
  using Inputs = HalfAttentionInputs<T>;
  using Gradients = HalfAttentionGradients<T>;
  static AttentionInputs& rest(Inputs& x) { return x.rest; }
  static AttentionGradients& rest(Gradients& x) { return x.rest; }
};
template <>
struct Engine<float> {
  using Held = float;
  using Inputs = AttentionInputs;
  using Gradients = AttentionGradients;
  static AttentionInputs& rest(Inputs& x) { return x; }
  static AttentionGradients& rest(Gradients& x) { return x; }
};

template <class T>
class AttentionCall {
 public:
  using Heads = Array<const typename Engine<T>::Held, 3>;

  AttentionCall(Heads q, Heads k, Heads v, std::vector<int64_t> q_offsets, std::vector<int64_t> k_offsets,
                AttentionSpec spec, FloatRow alibi, FloatRow sinks)
      : q_(std::move(q)),
        k_(std::move(k)),
        v_(std::move(v)),
        alibi_(std::move(alibi)),
        sinks_(std::move(sinks)),
        spec_(spec) {
    inputs_.q = heads_view<T>(q_);
    inputs_.k = heads_view<T>(k_);
    inputs_.v = heads_view<T>(v_);
    AttentionInputs& rest = Engine<T>::rest(inputs_);
    rest.q_offsets = Offsets(std::move(q_offsets));
    rest.k_offsets = Offsets(std::move(k_offsets));
    rest.alibi_slopes = row_span(alibi_);
    rest.sinks = row_span(sinks_);
  }

  // (out [T, H, Dv], what was seen as a dictionary of what there is)
  nb::tuple forward(const Observers& observers) const {
    Tensor out, lse;
    Insight seen;
    {
      const nb::gil_scoped_release release;
      out = Tensor::empty({rows(), heads(), inputs_.v.dim(2)}, dtype_of<T>);
      lse = Tensor::empty({rows(), heads()});
      attention_forward(inputs_, spec_, view(out), lse.data(), observers, &seen);
    }
    nb::dict found;
    const auto keep = [&](const char* name, const Tensor& x) {
      if (x.defined()) found[name] = to_numpy(x);
    };
    keep("lse", lse);
    keep("entropy", seen.entropy);
    keep("max", seen.max_weight);
    keep("max_key", seen.max_key);
    keep("top_k_indices", seen.top_k_keys);
    keep("top_k_weights", seen.top_k_weights);
    keep("key_mass", seen.key_mass);
    return nb::make_tuple(to_numpy(out), found);
  }

  nb::dict backward(const Heads& out, const Array<const float, 2>& lse, const Heads& dout) const {
    Tensor dq, dk, dv, dslopes, dsinks;
    {
      const nb::gil_scoped_release release;
      typename Engine<T>::Gradients gradients;
      gradients.dq = like(inputs_.q, dq);
      gradients.dk = like(inputs_.k, dk);
      gradients.dv = like(inputs_.v, dv);
      AttentionGradients& rest = Engine<T>::rest(gradients);
      if (alibi_) rest.dslopes = head_row(dslopes);
      if (sinks_) rest.dsinks = head_row(dsinks);
      attention_backward(inputs_, spec_, heads_view<T>(out), lse.data(), heads_view<T>(dout), gradients);
    }
    nb::dict result;
    result["dq"] = to_numpy(dq);
    result["dk"] = to_numpy(dk);
    result["dv"] = to_numpy(dv);
    if (dslopes.defined()) result["dalibi"] = to_numpy(dslopes);
    if (dsinks.defined()) result["dsinks"] = to_numpy(dsinks);
    return result;
  }

  // (weights [Σ Lk, H], offsets): the weights of queries[n] are rows [offsets[n], offsets[n + 1]).
  nb::tuple weight_rows(const Array<const float, 2>& lse, const std::vector<int64_t>& queries) const {
    Ragged weights;
    {
      const nb::gil_scoped_release release;
      weights = attention_rows(inputs_, spec_, lse.data(), queries);
    }
    const auto offsets = weights.offsets.values();
    return nb::make_tuple(to_numpy(weights.tokens), std::vector<int64_t>(offsets.begin(), offsets.end()));
  }

  static void bind(nb::module_& m, const char* name) {
    nb::class_<AttentionCall>(m, name)
        .def(nb::init<Heads, Heads, Heads, std::vector<int64_t>, std::vector<int64_t>, AttentionSpec,
                      FloatRow, FloatRow>(),
             nb::kw_only(), nb::arg("q").noconvert(), nb::arg("k").noconvert(), nb::arg("v").noconvert(),
             nb::arg("q_offsets"), nb::arg("k_offsets"), nb::arg("spec"), nb::arg("alibi").none(),
             nb::arg("sinks").none())
        .def("forward", &AttentionCall::forward, nb::arg("observers"))
        .def("backward", &AttentionCall::backward, nb::kw_only(), nb::arg("out").noconvert(),
             nb::arg("lse").noconvert(), nb::arg("dout").noconvert())
        .def("rows", &AttentionCall::weight_rows, nb::kw_only(), nb::arg("lse").noconvert(),
             nb::arg("queries"));
  }

 private:
  int64_t rows() const { return inputs_.q.dim(0); }
  int64_t heads() const { return inputs_.q.dim(1); }
  static HeadsView<T> view(Tensor& x) {
    return contiguous_view<T, 3>(x.data<T>(), {x.dim(0), x.dim(1), x.dim(2)});
  }
  static HeadsView<T> like(const HeadsView<const T>& x, Tensor& made) {
    made = Tensor::empty({x.dim(0), x.dim(1), x.dim(2)}, dtype_of<T>);
    return view(made);
  }
  float* head_row(Tensor& made) const {
    made = Tensor::zeros({heads()});
    return made.data();
  }

  Heads q_, k_, v_;
  FloatRow alibi_, sinks_;
  typename Engine<T>::Inputs inputs_;
  AttentionSpec spec_;
};

}  // namespace

void bind_attention(nb::module_& m) {
  nb::enum_<Score>(m, "Score")
      .value("scaled_dot", Score::kScaledDot)
      .value("dot", Score::kDot)
      .value("cosine", Score::kCosine);
  nb::class_<AttentionSpec>(m, "AttentionSpec")
      .def(nb::init<>())
      .def_rw("score", &AttentionSpec::score)
      .def_rw("scale", &AttentionSpec::scale, nb::arg().none())
      .def_rw("causal", &AttentionSpec::causal)
      .def_rw("window_left", &AttentionSpec::window_left)
      .def_rw("window_right", &AttentionSpec::window_right)
      .def_rw("softcap", &AttentionSpec::softcap)
      .def_rw("dropout", &AttentionSpec::dropout)
      .def_prop_rw(
          "seed", [](const AttentionSpec& spec) { return spec.dropout_key.seed; },
          [](AttentionSpec& spec, uint64_t seed) {
            spec.dropout_key = {seed, 0};
          });
  nb::class_<Observers>(m, "Observers")
      .def(nb::init<>())
      .def_rw("entropy", &Observers::entropy)
      .def_rw("max", &Observers::max)
      .def_rw("key_mass", &Observers::key_mass)
      .def_rw("top_k", &Observers::top_k);
  AttentionCall<float>::bind(m, "AttentionCall_float32");
  AttentionCall<BFloat16>::bind(m, "AttentionCall_bfloat16");
  AttentionCall<Float16>::bind(m, "AttentionCall_float16");
}

}  // namespace fovea::python
