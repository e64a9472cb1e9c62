// Caches of past keys and values, and attention on them.
#include "fovea/attention/decode.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include "arrays.hpp"
#include "bindings.hpp"
#include "insight.hpp"

namespace nb = nanobind;

namespace fovea::python {
namespace {

using Heads = AnyArray<const float>;
using Row = std::optional<Array<const float, 1>>;

void append(KvCache& cache, const Heads& k, const Heads& v) {
  const HeadsView<const float> keys = heads_view<float>(k), values = heads_view<float>(v);
  const nb::gil_scoped_release release;
  cache.append(keys, values);
}

// (out [Tq, H, Dv], what was seen)
nb::tuple decode(const Heads& q, std::vector<int64_t> q_offsets, const std::vector<const KvCache*>& caches,
                 AttentionSpec spec, std::optional<float> scale, float softcap, const Row& alibi,
                 const Row& sinks, const Observers& observers) {
  Tensor out, lse;
  Insight seen;
  DecodeInputs inputs;
  inputs.q = heads_view<float>(q);
  {
    const nb::gil_scoped_release release;
    inputs.q_offsets = Offsets(std::move(q_offsets));
    inputs.caches = caches;
    inputs.alibi_slopes = row_span(alibi);
    inputs.sinks = row_span(sinks);
    spec.scale = scale;
    spec.softcap = softcap;
    const int64_t rows = inputs.q.dim(0), heads = inputs.q.dim(1);
    const int64_t width = caches.empty() ? inputs.q.dim(2) : caches.front()->options().value_width;
    out = Tensor::empty({rows, heads, width});
    lse = Tensor::empty({rows, heads});
    attention_decode(inputs, spec, contiguous_view<float, 3>(out.data(), {rows, heads, width}), lse.data(),
                     observers, &seen);
  }
  return nb::make_tuple(to_numpy(out), to_dict(lse, seen));
}

}  // namespace

void bind_decode(nb::module_& m) {
  nb::enum_<CacheType>(m, "CacheType")
      .value("float32", CacheType::kF32)
      .value("bfloat16", CacheType::kBF16)
      .value("float16", CacheType::kF16)
      .value("int8", CacheType::kInt8);
  nb::class_<KvCache>(m, "KvCache")
      .def(
          "__init__",
          [](KvCache* self, int64_t kv_heads, int64_t width, int64_t value_width, CacheType type,
             int64_t block, int64_t window) {
            new (self) KvCache({.kv_heads = kv_heads,
                                .width = width,
                                .value_width = value_width,
                                .type = type,
                                .block = block,
                                .window = window});
          },
          nb::arg("kv_heads"), nb::arg("width"), nb::arg("value_width"), nb::arg("type"), nb::arg("block"),
          nb::arg("window"))
      .def("append", &append, nb::arg("k").noconvert(), nb::arg("v").noconvert())
      .def("evict", &KvCache::evict)
      .def("fork", &KvCache::fork)
      .def_prop_ro("length", &KvCache::length)
      .def_prop_ro("position", &KvCache::position)
      .def_prop_ro("bytes", &KvCache::bytes);
  m.def("decode", &decode, nb::arg("q").noconvert(), nb::arg("q_offsets"), nb::arg("caches"), nb::arg("spec"),
        nb::arg("scale").none(), nb::arg("softcap"), nb::arg("alibi").none().noconvert(),
        nb::arg("sinks").none().noconvert(), nb::arg("observers"));
}

}  // namespace fovea::python
