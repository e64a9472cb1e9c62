// Rotary positions: turned copies of heads.
#include "fovea/attention/rotary.hpp"

#include <nanobind/stl/vector.h>

#include "arrays.hpp"
#include "bindings.hpp"
#include "fovea/base/parallel.hpp"

namespace nb = nanobind;

namespace fovea::python {
namespace {

// Row i of sequence n, for packed and batched layouts.
template <class T>
const T* row_of(const HeadsView<const T>& x, const Offsets& offsets, int64_t n, int64_t i, int64_t h) {
  const int64_t start = x.sequence_stride != 0 ? n * x.sequence_stride : offsets.begin(n) * x.stride(0);
  return x.data + start + i * x.stride(0) + h * x.stride(1);
}

// [T, H, D]: x of the packed tokens, turned forth or back; sequence n begins at position first[n]. In
// float32 (float64 in its own), rounded once to the type of x.
template <class T, class Held>
nb::object turned(const AnyArray<const Held>& x, std::vector<int64_t> offsets,
                  const std::vector<int64_t>& first, RotarySpec spec, bool back) {
  using Real = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const HeadsView<const T> from = heads_view<T>(x);
  Tensor result;
  {
    const nb::gil_scoped_release release;
    const Offsets sequences(std::move(offsets));
    const int64_t heads = from.dim(1), width = from.dim(2);
    Tensor wide = Tensor::empty({from.dim(0), heads, width}, dtype_of<Real>);
    for (int64_t n = 0; n < sequences.count(); ++n) {
      const int64_t begin = sequences.begin(n), length = sequences.length(n);
      parallel_for(length, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, heads * width)),
                   [&](int64_t i0, int64_t i1) {
                     for (int64_t i = i0; i < i1; ++i) {
                       for (int64_t h = 0; h < heads; ++h) {
                         const T* row = row_of(from, sequences, n, i, h);
                         Real* to = wide.data<Real>() + ((begin + i) * heads + h) * width;
                         for (int64_t c = 0; c < width; ++c) to[c] = static_cast<Real>(row[c]);
                       }
                     }
                   });
      spec.first_position = first[static_cast<size_t>(n)];
      const HeadsView<Real> view =
          contiguous_view<Real, 3>(wide.data<Real>() + begin * heads * width, {length, heads, width});
      if (back) {
        rotary_backward(view, Offsets::single(length), spec);
      } else {
        rotary_forward(view, Offsets::single(length), spec);
      }
    }
    result = wide.dtype() == dtype_of<T> ? wide : wide.to(dtype_of<T>);
  }
  return to_numpy(result);
}

template <class T, class Held>
void bind_turned(nb::module_& m, const char* name) {
  m.def(name, &turned<T, Held>, nb::arg("x").noconvert(), nb::arg("offsets"), nb::arg("first"),
        nb::arg("spec"), nb::arg("back"));
}

}  // namespace

void bind_rotary(nb::module_& m) {
  nb::enum_<RotaryLayout>(m, "RotaryLayout")
      .value("half", RotaryLayout::kHalf)
      .value("interleaved", RotaryLayout::kInterleaved);
  nb::enum_<RotaryScaling>(m, "RotaryScaling")
      .value("none", RotaryScaling::kNone)
      .value("linear", RotaryScaling::kLinear)
      .value("ntk", RotaryScaling::kNtk)
      .value("yarn", RotaryScaling::kYarn);
  nb::class_<RotarySpec>(m, "RotarySpec")
      .def(nb::init<>())
      .def_rw("layout", &RotarySpec::layout)
      .def_rw("width", &RotarySpec::width)
      .def_rw("base", &RotarySpec::base)
      .def_rw("scaling", &RotarySpec::scaling)
      .def_rw("factor", &RotarySpec::factor)
      .def_rw("original_length", &RotarySpec::original_length)
      .def_rw("beta_fast", &RotarySpec::beta_fast)
      .def_rw("beta_slow", &RotarySpec::beta_slow);
  bind_turned<float, float>(m, "rotary_float32");
  bind_turned<double, double>(m, "rotary_float64");
  bind_turned<BFloat16, uint16_t>(m, "rotary_bfloat16");
  bind_turned<Float16, uint16_t>(m, "rotary_float16");
}

}  // namespace fovea::python
