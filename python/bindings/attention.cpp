// One attention call: what was given, kept alive, and the three things to do with it.
#include "fovea/attention/attention.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include "arrays.hpp"
#include "bindings.hpp"

namespace nb = nanobind;

namespace fovea::python {
namespace {

using Heads = Array<const float, 3>;

class AttentionCall {
 public:
  AttentionCall(Heads q, Heads k, Heads v, std::vector<int64_t> q_offsets, std::vector<int64_t> k_offsets,
                Score score, std::optional<float> scale, bool causal, int64_t window_left,
                int64_t window_right, float softcap, float dropout, uint64_t seed, FloatRow alibi,
                FloatRow sinks)
      : q_(std::move(q)),
        k_(std::move(k)),
        v_(std::move(v)),
        alibi_(std::move(alibi)),
        sinks_(std::move(sinks)) {
    inputs_.q = heads_view(q_);
    inputs_.k = heads_view(k_);
    inputs_.v = heads_view(v_);
    inputs_.q_offsets = Offsets(std::move(q_offsets));
    inputs_.k_offsets = Offsets(std::move(k_offsets));
    inputs_.alibi_slopes = row_span(alibi_);
    inputs_.sinks = row_span(sinks_);
    spec_.score = score;
    spec_.scale = scale;
    spec_.causal = causal;
    spec_.window_left = window_left;
    spec_.window_right = window_right;
    spec_.softcap = softcap;
    spec_.dropout = dropout;
    spec_.dropout_key = {seed, 0};
  }

  // (out [T, H, Dv], Insight as a dictionary of what there is)
  nb::tuple forward(bool entropy, bool max, bool key_mass, int64_t top_k) const {
    AttentionResult result;
    {
      const nb::gil_scoped_release release;
      result =
          attention(inputs_, spec_, {.entropy = entropy, .max = max, .key_mass = key_mass, .top_k = top_k});
    }
    nb::dict seen;
    const auto keep = [&](const char* name, const Tensor& x) {
      if (x.defined()) seen[name] = to_numpy(x);
    };
    keep("lse", result.lse);
    keep("entropy", result.seen.entropy);
    keep("max", result.seen.max_weight);
    keep("max_key", result.seen.max_key);
    keep("top_k_indices", result.seen.top_k_keys);
    keep("top_k_weights", result.seen.top_k_weights);
    keep("key_mass", result.seen.key_mass);
    return nb::make_tuple(to_numpy(result.out), seen);
  }

  nb::dict backward(const Heads& out, const Array<const float, 2>& lse, const Heads& dout) const {
    const auto like = [](const HeadsView<const float>& x) {
      return Tensor::empty({x.dim(0), x.dim(1), x.dim(2)});
    };
    const auto view = [](Tensor& x) {
      return contiguous_view<float, 3>(x.data(), {x.dim(0), x.dim(1), x.dim(2)});
    };
    Tensor dq, dk, dv, dslopes, dsinks;
    {
      const nb::gil_scoped_release release;
      dq = like(inputs_.q);
      dk = like(inputs_.k);
      dv = like(inputs_.v);
      AttentionGradients gradients{.dq = view(dq), .dk = view(dk), .dv = view(dv)};
      if (alibi_) {
        dslopes = Tensor::zeros({inputs_.q.dim(1)});
        gradients.dslopes = dslopes.data();
      }
      if (sinks_) {
        dsinks = Tensor::zeros({inputs_.q.dim(1)});
        gradients.dsinks = dsinks.data();
      }
      attention_backward(inputs_, spec_, heads_view(out), lse.data(), heads_view(dout), gradients);
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
  nb::tuple rows(const Array<const float, 2>& lse, const std::vector<int64_t>& queries) const {
    Ragged weights;
    {
      const nb::gil_scoped_release release;
      weights = attention_rows(inputs_, spec_, lse.data(), queries);
    }
    const auto offsets = weights.offsets.values();
    return nb::make_tuple(to_numpy(weights.tokens), std::vector<int64_t>(offsets.begin(), offsets.end()));
  }

 private:
  Heads q_, k_, v_;
  FloatRow alibi_, sinks_;
  AttentionInputs inputs_;
  AttentionSpec spec_;
};

}  // namespace

void bind_attention(nb::module_& m) {
  nb::enum_<Score>(m, "Score")
      .value("scaled_dot", Score::kScaledDot)
      .value("dot", Score::kDot)
      .value("cosine", Score::kCosine);
  nb::class_<AttentionCall>(m, "AttentionCall")
      .def(nb::init<Heads, Heads, Heads, std::vector<int64_t>, std::vector<int64_t>, Score,
                    std::optional<float>, bool, int64_t, int64_t, float, float, uint64_t, FloatRow,
                    FloatRow>(),
           nb::kw_only(), nb::arg("q").noconvert(), nb::arg("k").noconvert(), nb::arg("v").noconvert(),
           nb::arg("q_offsets"), nb::arg("k_offsets"), nb::arg("score"), nb::arg("scale").none(),
           nb::arg("causal"), nb::arg("window_left"), nb::arg("window_right"), nb::arg("softcap"),
           nb::arg("dropout"), nb::arg("seed"), nb::arg("alibi").none(), nb::arg("sinks").none())
      .def("forward", &AttentionCall::forward, nb::arg("entropy"), nb::arg("max"), nb::arg("key_mass"),
           nb::arg("top_k"))
      .def("backward", &AttentionCall::backward, nb::arg("out").noconvert(), nb::arg("lse").noconvert(),
           nb::arg("dout").noconvert())
      .def("rows", &AttentionCall::rows, nb::arg("lse").noconvert(), nb::arg("queries"));
}

}  // namespace fovea::python
