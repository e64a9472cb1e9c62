// How the engine is called for each element type: float32, 16-bit and float64 calls under one set of names.
#pragma once

#include <optional>
#include <span>

#include "fovea/attention/attention.hpp"
#include "fovea/attention/double.hpp"
#include "fovea/attention/half.hpp"

namespace fovea::python {

// Scale and softcap as Python has them: float64.
struct ScoreOptions {
  std::optional<double> scale;
  double softcap = 0.0;
};

// Parameters of the real type that the call computes with.
template <class Real>
struct Parameters {
  std::span<const Real> alibi, sinks, scales, table;
  ScoresView<const Real> bias;
};
template <class Real>
struct ParameterGradients {
  Real *dalibi = nullptr, *dsinks = nullptr, *dscales = nullptr, *dtable = nullptr;
  ScoresView<Real> dbias{};
};

template <class Inputs>
void set_single(Inputs& rest, AttentionSpec& spec, const Parameters<float>& p, const ScoreOptions& options) {
  rest.alibi_slopes = p.alibi;
  rest.sinks = p.sinks;
  rest.scales = p.scales;
  rest.relative.table = p.table.data();
  rest.bias = p.bias;
  if (options.scale) spec.scale = static_cast<float>(*options.scale);
  spec.softcap = static_cast<float>(options.softcap);
}
inline void set_single(AttentionGradients& rest, const ParameterGradients<float>& p) {
  rest.dslopes = p.dalibi;
  rest.dsinks = p.dsinks;
  rest.dscales = p.dscales;
  rest.dtable = p.dtable;
  rest.dbias = p.dbias;
}

template <class T>
struct Engine {  // 16-bit
  using Held = uint16_t;
  using Real = float;
  using Inputs = HalfAttentionInputs<T>;
  using Gradients = HalfAttentionGradients<T>;
  static AttentionInputs& rest(Inputs& x) { return x.rest; }
  static void set(Inputs& x, AttentionSpec& spec, const Parameters<float>& p, const ScoreOptions& options) {
    set_single(x.rest, spec, p, options);
  }
  static void set(Gradients& x, const ParameterGradients<float>& p) { set_single(x.rest, p); }
};

template <>
struct Engine<float> {
  using Held = float;
  using Real = float;
  using Inputs = AttentionInputs;
  using Gradients = AttentionGradients;
  static AttentionInputs& rest(Inputs& x) { return x; }
  static void set(Inputs& x, AttentionSpec& spec, const Parameters<float>& p, const ScoreOptions& options) {
    set_single(x, spec, p, options);
  }
  static void set(Gradients& x, const ParameterGradients<float>& p) { set_single(x, p); }
};

template <>
struct Engine<double> {
  using Held = double;
  using Real = double;
  using Inputs = DoubleAttentionInputs;
  using Gradients = DoubleAttentionGradients;
  static AttentionInputs& rest(Inputs& x) { return x.rest; }
  static void set(Inputs& x, AttentionSpec&, const Parameters<double>& p, const ScoreOptions& options) {
    x.alibi_slopes = p.alibi;
    x.sinks = p.sinks;
    x.scales = p.scales;
    x.relative_table = p.table;
    x.bias = p.bias;
    x.scale = options.scale;
    x.softcap = options.softcap;
  }
  static void set(Gradients& x, const ParameterGradients<double>& p) {
    x.dslopes = p.dalibi;
    x.dsinks = p.dsinks;
    x.dscales = p.dscales;
    x.dtable = p.dtable;
    x.dbias = p.dbias;
  }
};

}  // namespace fovea::python
