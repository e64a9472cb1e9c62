// What backward in float32 works on: its workspace, and the rows of the keys and values of a task, which it
// reads where they lie or in a copy, and those of their gradients.
#if defined(FOVEA_ATTENTION_BACKWARD_ROWS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_BACKWARD_ROWS_INL
#undef FOVEA_ATTENTION_BACKWARD_ROWS_INL
#else
#define FOVEA_ATTENTION_BACKWARD_ROWS_INL
#endif

#include "kernels/attention_pack-inl.hpp"
#include "kernels/attention_spoilt-inl.hpp"
#include "kernels/attention_tile-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

inline constexpr int64_t kPanels = 2;  // of a query block: the depth of the products for dV and dK
inline constexpr int64_t kBlock = kPanels * kPanel;  // queries of a block
inline constexpr int64_t kColumns = kBlock / kLanes;

struct BackwardWorkspace {
  float *k, *v;                  // [keys][padded width], [keys][value_width]: rows brought together
  float *dk, *dv;                // [keys][padded width]
  float *qt, *dot, *dqt;         // per panel [width][kPanel]
  float *q, *d_o;                // [kBlock][padded width]
  float *p, *ds, *factor;        // [kKeyBlock][kBlock]
  float *max, *log_sum, *delta;  // [kBlock]
  Spoilt queries, keys;          // [kBlock], [keys]
  float* spoilt;                 // [kKeyBlock][kBlock]: what weigh_seen adds to dS
};

inline int64_t lay_out_backward(int64_t width, int64_t value_width, int64_t keys, float* base,
                                BackwardWorkspace* w) {
  const int64_t padded = round_up(width, kLanes), padded_value = round_up(value_width, kLanes);
  int64_t used = 0;
  const auto take = [&](float*& pointer, int64_t floats) {
    pointer = base == nullptr ? nullptr : base + used;
    used += round_up(floats, 16);
  };
  BackwardWorkspace unused;
  if (w == nullptr) w = &unused;
  take(w->k, keys * padded);
  take(w->v, keys * value_width);
  take(w->dk, keys * padded);
  take(w->dv, keys * padded_value);
  take(w->qt, kBlock * width);
  take(w->dot, kBlock * value_width);
  take(w->dqt, kBlock * width);
  take(w->q, kBlock * padded);
  take(w->d_o, kBlock * padded_value);
  take(w->p, kKeyBlock * kBlock);
  take(w->ds, kKeyBlock * kBlock);
  take(w->factor, kKeyBlock * kBlock);
  take(w->max, kBlock);
  take(w->log_sum, kBlock);
  take(w->delta, kBlock);
  take(w->queries.weight, kBlock);
  take(w->queries.score, kBlock);
  take(w->keys.weight, keys);
  take(w->keys.score, keys);
  take(w->spoilt, kKeyBlock * kBlock);
  return used;
}

// The rows of a block of keys.
struct KeyRows {
  const float *k, *v;  // of the key block's first row
  int64_t ldk, ldv;
  float *dk, *dv;
  int64_t ld_dk, ld_dv;
  Spoilt spoilt;
  bool finite;  // no key is known to be spoilt
  bool direct;  // dk and dv are the results themselves, and each key is written once
};

// Keys and values side by side, where they are not; keys readable in whole vectors where differences are
// taken from them.
inline void copy_keys(const AttentionHead& h, int64_t keys, bool differences, const BackwardWorkspace& w,
                      KeyRows& rows) {
  const int64_t ldk = differences ? round_up(h.width, kLanes) : h.width;
  if (rows.ldk != ldk || differences) {
    copy_rows(rows.k, rows.ldk, keys, h.width, w.k, ldk);
    rows.k = w.k;
  }
  if (rows.ldv != h.value_width) {
    copy_rows(rows.v, rows.ldv, keys, h.value_width, w.v, h.value_width);
    rows.v = w.v;
  }
  rows.ldk = ldk;
  rows.ldv = h.value_width;
}

// Looks for keys, and values if wanted, that are not finite; they become 0, in a copy.
inline void check_keys(const AttentionHead& h, int64_t keys, bool values, const BackwardWorkspace& w,
                       KeyRows& rows) {
  zero_floats(w.keys.weight, keys);
  zero_floats(w.keys.score, keys);
  rows.finite = finite_rows(rows.k, rows.ldk, keys, h.width) &&
                (!values || finite_rows(rows.v, rows.ldv, keys, h.value_width));
  if (rows.finite) return;
  if (rows.k != w.k) {
    copy_rows(rows.k, rows.ldk, keys, h.width, w.k, h.width);
    rows.ldk = h.width;
  }
  if (rows.v != w.v) copy_rows(rows.v, rows.ldv, keys, h.value_width, w.v, h.value_width);
  rows.k = w.k;
  rows.v = w.v;
  rows.ldv = h.value_width;
  mark_keys(w.k, rows.ldk, h.width, w.v, rows.ldv, h.value_width, keys, w.keys);
}

template <bool kAdd>
void write_rows(const float* from, int64_t ld, int64_t rows, int64_t width, float* to, int64_t stride) {
  const F d;
  for (int64_t i = 0; i < rows; ++i) {
    float* row = to + i * stride;
    int64_t c = 0;
    for (; c + kLanes <= width; c += kLanes) {
      const V x = hn::Load(d, from + i * ld + c);
      hn::StoreU(kAdd ? hn::Add(hn::LoadU(d, row + c), x) : x, d, row + c);
    }
    for (; c < width; ++c) row[c] = kAdd ? row[c] + from[i * ld + c] : from[i * ld + c];
  }
}

inline void write_rows(const AttentionBackwardTask& task, const float* from, int64_t ld, int64_t width,
                       float* to, int64_t stride) {
  if (to == nullptr) return;
  const int64_t keys = task.k_end - task.k_begin;
  if (task.add_keys) return write_rows<true>(from, ld, keys, width, to, stride);
  write_rows<false>(from, ld, keys, width, to, stride);
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
