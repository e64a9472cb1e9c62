// Heads between 16 bits and float32, whatever their strides.
#pragma once

#include <algorithm>

#include "attention/sequence.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/kernels/convert.hpp"
#include "fovea/tensor/view.hpp"

namespace fovea {

// How many elements of a token lie side by side: all of its heads, or one.
template <class T>
int64_t run_length(const HeadsView<T>& x) {
  return x.stride(1) == x.dim(2) ? x.dim(1) * x.dim(2) : x.dim(2);
}

// Calls body(element of x, element of a contiguous array, count) for each run of elements.
template <class T, class Body>
void for_runs(const HeadsView<T>& x, const Offsets& offsets, const Body& body) {
  const int64_t run = run_length(x), runs = run == 0 ? 0 : x.dim(1) * x.dim(2) / run;
  parallel_for(x.dim(0), std::max<int64_t>(1, 16384 / std::max<int64_t>(1, run * runs)),
               [&](int64_t begin, int64_t end) {
                 for_tokens(offsets, begin, end, [&](int64_t n, int64_t i, int64_t t) {
                   for (int64_t h = 0; h < runs; ++h)
                     body(row_of(x, offsets, n, i, h), (t * runs + h) * run, run);
                 });
               });
}

// [T, H, D] in float32, exact.
template <class T>
Tensor widened(const HeadsView<const T>& x, const Offsets& offsets) {
  Tensor wide = Tensor::empty({x.dim(0), x.dim(1), x.dim(2)});
  float* to = wide.data();
  for_runs(x, offsets,
           [to](const T* from, int64_t at, int64_t count) { kernels::widen(count, from, to + at); });
  return wide;
}

// x := wide, rounded to nearest.
template <class T>
void narrow_to(const HeadsView<T>& x, const Offsets& offsets, const Tensor& wide) {
  const float* from = wide.data();
  for_runs(x, offsets, [from](T* to, int64_t at, int64_t count) { kernels::narrow(count, from + at, to); });
}

template <class T>
HeadsView<T> heads_view(Tensor& x) {
  return contiguous_view<T, 3>(x.data<T>(), {x.dim(0), x.dim(1), x.dim(2)});
}
template <class T>
HeadsView<const T> heads_view(const Tensor& x) {
  return contiguous_view<const T, 3>(x.data<T>(), {x.dim(0), x.dim(1), x.dim(2)});
}

}  // namespace fovea
