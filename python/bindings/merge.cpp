// Answers of parts of the keys, merged to that of all keys.
#include "fovea/attention/merge.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <cstring>

#include "arrays.hpp"
#include "bindings.hpp"
#include "insight.hpp"

namespace nb = nanobind;

namespace fovea::python {
namespace {

using Rows = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using Row = std::optional<DenseArray<const float, 1>>;

// A copy: merging writes. 16-bit outputs come as uint16 and are widened.
Tensor tensor_of(const Rows& x, DType type) {
  int64_t dims[Shape::kMaxRank] = {};
  for (size_t i = 0; i < x.ndim(); ++i) dims[i] = static_cast<int64_t>(x.shape(i));
  Tensor copy = Tensor::empty(Shape(std::span<const int64_t>(dims, x.ndim())), type);
  if (copy.nbytes() > 0) std::memcpy(copy.raw(), x.data(), static_cast<size_t>(copy.nbytes()));
  return type == DType::kBF16 || type == DType::kF16 ? copy.to(DType::kF32) : copy;
}

// What one part of the keys answered: out [T, H, Dv], what was seen, and the place of its first key of each
// sequence among all keys of that sequence.
class Part {
 public:
  Part(const Rows& out, const nb::dict& seen, std::vector<int64_t> first_key, DType type)
      : first_key_(std::move(first_key)) {
    result_.out = tensor_of(out, type);
    const auto take = [&](const char* name, Tensor& to, DType of = DType::kF32) {
      if (seen.contains(name)) to = tensor_of(nb::cast<Rows>(seen[name]), of);
    };
    Insight& s = result_.seen;
    take("lse", result_.lse);
    take("saved", s.softmax_rows);
    take("entropy", s.entropy);
    take("max", s.max_weight);
    take("max_key", s.max_key, DType::kI64);
    take("top_k_indices", s.top_k_keys, DType::kI64);
    take("top_k_weights", s.top_k_weights);
    take("effective_keys", s.effective_keys);
    take("set_mass", s.set_mass);
    take("block_mass", s.block_mass);
    take("distance", s.expected_distance);
    take("first_key_mass", s.first_key_mass);
    take("near_mass", s.near_mass);
  }
  AttentionResult& result() { return result_; }
  std::span<const int64_t> first_key() const { return first_key_; }

 private:
  AttentionResult result_;
  std::vector<int64_t> first_key_;
};

// (out [T, H, Dv], what was seen) over the keys of all parts; the first one becomes it.
nb::tuple merged(const std::vector<Part*>& parts, std::vector<int64_t> q_offsets, const Row& sinks,
                 DType type) {
  AttentionResult& into = parts.front()->result();
  Tensor out;
  {
    const nb::gil_scoped_release release;
    const Offsets offsets(std::move(q_offsets));
    for (size_t i = 1; i < parts.size(); ++i) merge(into, parts[i]->result(), offsets, parts[i]->first_key());
    if (sinks) merge_sinks(into, row_span(sinks));
    out = into.out.to(type);
  }
  return nb::make_tuple(to_numpy(out), to_dict(into.lse, into.seen.softmax_rows, into.seen));
}

}  // namespace

void bind_merge(nb::module_& m) {
  nb::enum_<DType>(m, "DType")
      .value("float32", DType::kF32)
      .value("bfloat16", DType::kBF16)
      .value("float16", DType::kF16);
  nb::class_<Part>(m, "Part").def(nb::init<const Rows&, const nb::dict&, std::vector<int64_t>, DType>(),
                                  nb::kw_only(), nb::arg("out"), nb::arg("seen"), nb::arg("first_key"),
                                  nb::arg("type"));
  m.def("merge", &merged, nb::arg("parts"), nb::arg("q_offsets"), nb::arg("sinks").none().noconvert(),
        nb::arg("type"));
}

}  // namespace fovea::python
