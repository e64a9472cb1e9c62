// Block masks of known lengths; python/fovea/_blocks.py makes them when a call says what its lengths are.
#include "fovea/attention/block_mask.hpp"

#include <nanobind/stl/vector.h>

#include "arrays.hpp"
#include "bindings.hpp"

namespace nb = nanobind;

namespace fovea::python {
namespace {

BlockMask from_bitmap(const DenseArray<const uint8_t, 2>& bitmap, int64_t q_block, int64_t k_block,
                      int64_t lq, int64_t lk) {
  const nb::gil_scoped_release release;
  return BlockMask::from_bitmap({bitmap.data(), bitmap.size()}, q_block, k_block, lq, lk);
}

// rows(begin, end) gives the uint8 matrix [end − begin, Lk] of these queries; asked in order, 64 at a time.
BlockMask from_rows(int64_t lq, int64_t lk, const nb::callable& rows) {
  constexpr int64_t kRows = 64;
  DenseArray<const uint8_t, 2> strip;
  int64_t first = -1;
  return BlockMask::from_function(lq, lk, [&](int64_t i, int64_t j) {
    const int64_t begin = i / kRows * kRows;
    if (begin != first) {
      strip = nb::cast<DenseArray<const uint8_t, 2>>(rows(begin, std::min(lq, begin + kRows)));
      first = begin;
    }
    return strip.data()[(i - begin) * strip.stride(0) + j * strip.stride(1)] != 0;
  });
}

}  // namespace

void bind_block_mask(nb::module_& m) {
  nb::enum_<SparsePattern>(m, "SparsePattern")
      .value("strided", SparsePattern::kStrided)
      .value("fixed", SparsePattern::kFixed);
  nb::class_<BlockMask>(m, "BlockMask")
      .def_static("from_bitmap", &from_bitmap, nb::arg("bitmap").noconvert(), nb::arg("q_block"),
                  nb::arg("k_block"), nb::arg("lq"), nb::arg("lk"))
      .def_static("from_rows", &from_rows)
      .def_static("causal", &BlockMask::causal)
      .def_static("window", &BlockMask::window)
      .def_static("strided", &BlockMask::strided)
      .def_static("dilated", &BlockMask::dilated)
      .def_static("global_tokens", &BlockMask::global_tokens)
      .def_static("random",
                  [](int64_t lq, int64_t lk, int64_t block, int64_t per_row, uint64_t seed) {
                    return BlockMask::random(lq, lk, block, per_row, {seed, 0});
                  })
      .def_static("prefix", &BlockMask::prefix)
      .def_static("documents",
                  [](const std::vector<int64_t>& q_ids, const std::vector<int64_t>& k_ids) {
                    return BlockMask::documents(q_ids, k_ids);
                  })
      .def_static("longformer", &longformer)
      .def_static(
          "big_bird",
          [](int64_t length, int64_t block, int64_t global, int64_t window, int64_t random, uint64_t seed) {
            return big_bird(length, block, global, window, random, {seed, 0});
          })
      .def_static("sparse_transformer", &sparse_transformer)
      .def("either", [](const BlockMask& a, const BlockMask& b) { return a | b; })
      .def("both", [](const BlockMask& a, const BlockMask& b) { return a & b; })
      .def("sees", &BlockMask::sees)
      .def_prop_ro("queries", &BlockMask::queries)
      .def_prop_ro("keys", &BlockMask::keys)
      .def_prop_ro("pairs", &BlockMask::pairs)
      .def_prop_ro("live_tiles", &BlockMask::live_tiles)
      .def_prop_ro("bytes", &BlockMask::bytes);
}

}  // namespace fovea::python
