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
using KeySets = std::optional<Array<const int32_t, 1>>;

void append(KvCache& cache, const Heads& k, const Heads& v) {
  const HeadsView<const float> keys = heads_view<float>(k), values = heads_view<float>(v);
  const nb::gil_scoped_release release;
  cache.append(keys, values);
}

// (out [Tq, H, Dv], what was seen)
template <class T, class Held>
nb::tuple decode(const AnyArray<const Held>& q, std::vector<int64_t> q_offsets,
                 const std::vector<const KvCache*>& caches, AttentionSpec spec, std::optional<float> scale,
                 float softcap, const Row& alibi, const Row& sinks, Observers observers,
                 const KeySets& key_sets) {
  Tensor out, lse;
  Insight seen;
  DecodeInputs inputs;
  const HeadsView<const T> queries = heads_view<T>(q);
  {
    const nb::gil_scoped_release release;
    if (key_sets) observers.key_sets = {key_sets->data(), key_sets->size()};
    inputs.q_offsets = Offsets(std::move(q_offsets));
    inputs.caches = caches;
    inputs.alibi_slopes = row_span(alibi);
    inputs.sinks = row_span(sinks);
    spec.scale = scale;
    spec.softcap = softcap;
    const int64_t rows = queries.dim(0), heads = queries.dim(1);
    const int64_t width = caches.empty() ? queries.dim(2) : caches.front()->options().value_width;
    out = Tensor::empty({rows, heads, width}, dtype_of<T>);
    lse = Tensor::empty({rows, heads});
    const HeadsView<T> to = contiguous_view<T, 3>(out.data<T>(), {rows, heads, width});
    if constexpr (std::is_same_v<T, float>) {
      inputs.q = queries;
      attention_decode(inputs, spec, to, lse.data(), observers, &seen);
    } else {
      attention_decode(HalfDecodeInputs<T>{queries, inputs}, spec, to, lse.data(), observers, &seen);
    }
  }
  return nb::make_tuple(to_numpy(out), to_dict(lse, seen));
}

template <class T, class Held>
void bind_decode_of(nb::module_& m, const char* name) {
  m.def(name, &decode<T, Held>, nb::arg("q").noconvert(), nb::arg("q_offsets"), nb::arg("caches"),
        nb::arg("spec"), nb::arg("scale").none(), nb::arg("softcap"), nb::arg("alibi").none().noconvert(),
        nb::arg("sinks").none().noconvert(), nb::arg("observers"), nb::arg("key_sets").none().noconvert());
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
  bind_decode_of<float, float>(m, "decode_float32");
  bind_decode_of<BFloat16, uint16_t>(m, "decode_bfloat16");
  bind_decode_of<Float16, uint16_t>(m, "decode_float16");
}

}  // namespace fovea::python
