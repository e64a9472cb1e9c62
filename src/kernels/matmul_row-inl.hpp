// A product of one row with a B in rows: bound by reading B, which is therefore read in the order in which it
// lies. The chains of multiply-adds are those of the tiles. Included once a target.
#if defined(FOVEA_MATMUL_ROW_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_MATMUL_ROW_INL
#undef FOVEA_MATMUL_ROW_INL
#else
#define FOVEA_MATMUL_ROW_INL
#endif

#include "kernels/attention_tile-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

// c[0, n) (+)= Σ over kTerms terms of a[p·step] · b[p·ldb + …], n >= kLanes.
template <int kTerms>
HWY_NOINLINE void add_rows(int64_t n, const float* a, int64_t step, const float* b, int64_t ldb, bool add,
                           float* HWY_RESTRICT c) {
  const F d;
  V av[kTerms];
  FOVEA_UNROLL
  for (int p = 0; p < kTerms; ++p) av[p] = hn::Set(d, a[p * step]);
  const auto sum = [&](int64_t j) HWY_ATTR {
    V acc = add ? hn::LoadU(d, c + j) : hn::Zero(d);
    FOVEA_UNROLL
    for (int p = 0; p < kTerms; ++p) acc = hn::MulAdd(av[p], hn::LoadU(d, b + p * ldb + j), acc);
    return acc;
  };
  const int64_t tail = n % kLanes;
  // The last columns as a whole vector, of which only they are kept. First, for what it also reads of C.
  const V last = tail > 0 ? sum(n - kLanes) : hn::Zero(d);
  for (int64_t j = 0; j + kLanes <= n; j += kLanes) hn::StoreU(sum(j), d, c + j);
  if (tail == 0) return;
  const auto kept = hn::FirstN(d, static_cast<size_t>(kLanes - tail));
  hn::StoreU(hn::IfThenElse(kept, hn::LoadU(d, c + n - kLanes), last), d, c + n - kLanes);
}

// c[0, n) (+)= Σ a[p·step] · b[p·ldb + …] over k terms.
HWY_INLINE void row_product(int64_t n, int64_t k, const float* a, int64_t step, const float* b, int64_t ldb,
                            bool add, float* c) {
  int64_t p = 0;
  for (; p + 8 <= k; p += 8) {
    add_rows<8>(n, a + p * step, step, b + p * ldb, ldb, add, c);
    add = true;
  }
  for (; p < k; ++p) {
    add_rows<1>(n, a + p * step, step, b + p * ldb, ldb, add, c);
    add = true;
  }
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
