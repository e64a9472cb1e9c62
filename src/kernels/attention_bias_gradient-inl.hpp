// The gradients of biases from those of a column of scores: dS [key][kLd], lanes are queries.
#if defined(FOVEA_ATTENTION_BIAS_GRADIENT_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_BIAS_GRADIENT_INL
#undef FOVEA_ATTENTION_BIAS_GRADIENT_INL
#else
#define FOVEA_ATTENTION_BIAS_GRADIENT_INL
#endif

#include "kernels/attention_mask-inl.hpp"
#include "kernels/attention_pack-inl.hpp"
#include "kernels/attention_tile-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

// ddistance[i' − j] += dS; ddistance is the place of the column's first query and the block's first key.
template <int64_t kLd>
HWY_NOINLINE void add_distance_column(const float* ds, KeyRun run, float* ddistance) {
  const F d;
  for (int64_t j = run.begin; j < run.end; ++j) {
    hn::StoreU(hn::Add(hn::LoadU(d, ddistance - j), hn::Load(d, ds + j * kLd)), d, ddistance - j);
  }
}

// dbias += dS on a column; a stride of 0 sums over that axis, in the order of the other.
template <int64_t kLd>
HWY_NOINLINE void add_bias_column(const float* ds, KeyRun run, QueryColumn q, int64_t block, float* dbias,
                                  int64_t across, int64_t along) {
  const F d;
  dbias += q.row * across + (block + run.begin) * along;
  ds += run.begin * kLd;
  const int64_t keys = run.end - run.begin;
  if (along == 1 && across != 0) {
    unpack_column<true, kLd>(ds, hn::Set(d, 1.0f), q.rows, keys, dbias, across);
  } else if (across == 0) {
    for (int64_t j = 0; j < keys; ++j)
      dbias[j * along] += hn::GetLane(hn::SumOfLanes(d, hn::Load(d, ds + j * kLd)));
  } else {
    for (int64_t j = 0; j < keys; ++j) {
      for (int64_t i = 0; i < q.rows; ++i) dbias[i * across + j * along] += ds[j * kLd + i];
    }
  }
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
