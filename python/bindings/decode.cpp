// Caches of past keys and values, and attention on them.
#include "fovea/attention/decode.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include "arrays.hpp"
#include "bindings.hpp"
#include "insight.hpp"
#include "relative.hpp"

namespace nb = nanobind;

namespace fovea::python {
namespace {

using Heads = AnyArray<const float>;
using Row = std::optional<DenseArray<const float, 1>>;
using Table = std::optional<DenseArray<const float, 2>>;
using KeySets = std::optional<DenseArray<const int32_t, 1>>;

void append(KvCache& cache, const Heads& k, const Heads& v) {
  const HeadsView<const float> keys = heads_view<float>(k), values = heads_view<float>(v);
  const nb::gil_scoped_release release;
  cache.append(keys, values);
}

// One call: what was given. The caches belong to Python, which keeps them as long as the call.
template <class T, class Held>
class DecodeCall {
 public:
  DecodeCall(AnyArray<const Held> q, std::vector<int64_t> q_offsets, std::vector<const KvCache*> caches,
             AttentionSpec spec, std::optional<float> scale, float softcap, Row alibi, Row sinks, Table table,
             const Relative& relative)
      : q_(std::move(q)),
        alibi_(std::move(alibi)),
        sinks_(std::move(sinks)),
        table_(std::move(table)),
        caches_(std::move(caches)),
        spec_(spec) {
    spec_.scale = scale;
    spec_.softcap = softcap;
    DecodeInputs& rest = inputs();
    rest.q_offsets = Offsets(std::move(q_offsets));
    rest.caches = caches_;
    rest.alibi_slopes = row_span(alibi_);
    rest.relative = relative.view();
    if (table_) rest.relative.table = table_->data();
    rest.sinks = row_span(sinks_);
    inputs_.q = heads_view<T>(q_);
  }

  // (out [Tq, H, Dv], what was seen)
  nb::tuple forward(Observers observers, const KeySets& key_sets) const {
    Tensor out, lse, saved;
    Insight seen;
    if (key_sets) observers.key_sets = {key_sets->data(), key_sets->size()};
    {
      const nb::gil_scoped_release release;
      const int64_t rows = inputs_.q.dim(0), heads = inputs_.q.dim(1);
      const int64_t width = caches_.empty() ? inputs_.q.dim(2) : caches_.front()->options().value_width;
      out = Tensor::empty({rows, heads, width}, dtype_of<T>);
      lse = Tensor::empty({rows, heads});
      saved = Tensor::empty({rows, heads, 2});
      attention_decode(inputs_, spec_, contiguous_view<T, 3>(out.data<T>(), {rows, heads, width}),
                       {lse.data(), softmax_rows(saved)}, observers, &seen);
    }
    return nb::make_tuple(to_numpy(out), to_dict(lse, saved, seen));
  }

  // (weights [Σ Lk, H], offsets), as AttentionCall's.
  nb::tuple rows(const std::vector<int64_t>& queries,
                 const std::optional<DenseArray<const float, 2>>& shares) const {
    Ragged weights;
    {
      const nb::gil_scoped_release release;
      weights = attention_decode_rows(inputs_, spec_, queries, shares ? shares->data() : nullptr);
    }
    const auto offsets = weights.offsets.values();
    return nb::make_tuple(to_numpy(weights.tokens), std::vector<int64_t>(offsets.begin(), offsets.end()));
  }

  static void bind(nb::module_& m, const char* name) {
    nb::class_<DecodeCall>(m, name)
        .def(nb::init<AnyArray<const Held>, std::vector<int64_t>, std::vector<const KvCache*>, AttentionSpec,
                      std::optional<float>, float, Row, Row, Table, const Relative&>(),
             nb::kw_only(), nb::arg("q").noconvert(), nb::arg("q_offsets"), nb::arg("caches"),
             nb::arg("spec"), nb::arg("scale").none(), nb::arg("softcap"),
             nb::arg("alibi").none().noconvert(), nb::arg("sinks").none().noconvert(),
             nb::arg("table").none().noconvert(), nb::arg("relative"))
        .def("forward", &DecodeCall::forward, nb::arg("observers"), nb::arg("key_sets").none().noconvert())
        .def("rows", &DecodeCall::rows, nb::kw_only(), nb::arg("queries"),
             nb::arg("shares").none().noconvert() = nb::none());
  }

 private:
  using Inputs = std::conditional_t<std::is_same_v<T, float>, DecodeInputs, HalfDecodeInputs<T>>;
  DecodeInputs& inputs() {
    if constexpr (std::is_same_v<T, float>) {
      return inputs_;
    } else {
      return inputs_.rest;
    }
  }

  AnyArray<const Held> q_;
  Row alibi_, sinks_;
  Table table_;
  std::vector<const KvCache*> caches_;
  AttentionSpec spec_;
  Inputs inputs_;
};

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
  DecodeCall<float, float>::bind(m, "DecodeCall_float32");
  DecodeCall<BFloat16, uint16_t>::bind(m, "DecodeCall_bfloat16");
  DecodeCall<Float16, uint16_t>::bind(m, "DecodeCall_float16");
}

}  // namespace fovea::python
