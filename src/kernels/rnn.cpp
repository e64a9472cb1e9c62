#include "fovea/kernels/rnn.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rnn.cpp"
#include "kernels/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {

void lstm_forward_body(int64_t rows, int64_t hidden, float* gates, const float* c_prev, float* c, float* h) {
  for (int64_t r = 0; r < rows; ++r) {
    float* g = gates + r * 4 * hidden;
    for_vectors(hidden, [&](int64_t j, int64_t count) HWY_ATTR {
      const VF in = sigmoid(load_some(g + j, count));
      const VF forget = sigmoid(load_some(g + hidden + j, count));
      const VF cell = tanh(load_some(g + 2 * hidden + j, count));
      const VF out = sigmoid(load_some(g + 3 * hidden + j, count));
      VF next = hn::Mul(in, cell);
      if (c_prev != nullptr) next = hn::MulAdd(forget, load_some(c_prev + r * hidden + j, count), next);
      store_some(in, g + j, count);
      store_some(forget, g + hidden + j, count);
      store_some(cell, g + 2 * hidden + j, count);
      store_some(out, g + 3 * hidden + j, count);
      store_some(next, c + r * hidden + j, count);
      store_some(hn::Mul(out, tanh(next)), h + r * hidden + j, count);
    });
  }
}

void lstm_backward_body(int64_t rows, int64_t hidden, const float* gates, const float* c_prev, const float* c,
                        const float* dh, const float* dc, float* dgates, float* dc_prev) {
  const F32 d;
  const VF one = hn::Set(d, 1.0f);
  for (int64_t r = 0; r < rows; ++r) {
    const float* g = gates + r * 4 * hidden;
    float* dg = dgates + r * 4 * hidden;
    for_vectors(hidden, [&](int64_t j, int64_t count) HWY_ATTR {
      const int64_t at = r * hidden + j;
      const VF in = load_some(g + j, count);
      const VF forget = load_some(g + hidden + j, count);
      const VF cell = load_some(g + 2 * hidden + j, count);
      const VF out = load_some(g + 3 * hidden + j, count);
      const VF t = tanh(load_some(c + at, count));
      const VF gh = dh == nullptr ? hn::Zero(d) : load_some(dh + at, count);
      VF gc = hn::Mul(hn::Mul(gh, out), hn::NegMulAdd(t, t, one));
      if (dc != nullptr) gc = hn::Add(gc, load_some(dc + at, count));
      const VF before = c_prev == nullptr ? hn::Zero(d) : load_some(c_prev + at, count);
      store_some(hn::Mul(hn::Mul(gc, cell), hn::NegMulAdd(in, in, in)), dg + j, count);
      store_some(hn::Mul(hn::Mul(gc, before), hn::NegMulAdd(forget, forget, forget)), dg + hidden + j, count);
      store_some(hn::Mul(hn::Mul(gc, in), hn::NegMulAdd(cell, cell, one)), dg + 2 * hidden + j, count);
      store_some(hn::Mul(hn::Mul(gh, t), hn::NegMulAdd(out, out, out)), dg + 3 * hidden + j, count);
      if (dc_prev != nullptr) store_some(hn::Mul(gc, forget), dc_prev + at, count);
    });
  }
}

void gru_forward_body(int64_t rows, int64_t hidden, float* gx, const float* gh, const float* h_prev,
                      float* h) {
  const F32 d;
  for (int64_t r = 0; r < rows; ++r) {
    float* x = gx + r * 3 * hidden;
    const float* y = gh + r * 3 * hidden;
    for_vectors(hidden, [&](int64_t j, int64_t count) HWY_ATTR {
      const VF reset = sigmoid(hn::Add(load_some(x + j, count), load_some(y + j, count)));
      const VF update = sigmoid(hn::Add(load_some(x + hidden + j, count), load_some(y + hidden + j, count)));
      const VF fresh =
          tanh(hn::MulAdd(reset, load_some(y + 2 * hidden + j, count), load_some(x + 2 * hidden + j, count)));
      const VF before = h_prev == nullptr ? hn::Zero(d) : load_some(h_prev + r * hidden + j, count);
      store_some(reset, x + j, count);
      store_some(update, x + hidden + j, count);
      store_some(fresh, x + 2 * hidden + j, count);
      // (1 - z)·n + z·h = n + z·(h - n)
      store_some(hn::MulAdd(update, hn::Sub(before, fresh), fresh), h + r * hidden + j, count);
    });
  }
}

void gru_backward_body(int64_t rows, int64_t hidden, const float* activated, const float* gh,
                       const float* h_prev, const float* dh, float* dgx, float* dgh, float* dh_prev) {
  const F32 d;
  const VF one = hn::Set(d, 1.0f);
  for (int64_t r = 0; r < rows; ++r) {
    const float* a = activated + r * 3 * hidden;
    const float* y = gh + r * 3 * hidden;
    float* dx = dgx + r * 3 * hidden;
    float* dy = dgh + r * 3 * hidden;
    for_vectors(hidden, [&](int64_t j, int64_t count) HWY_ATTR {
      const int64_t at = r * hidden + j;
      const VF reset = load_some(a + j, count);
      const VF update = load_some(a + hidden + j, count);
      const VF fresh = load_some(a + 2 * hidden + j, count);
      const VF recurrent = load_some(y + 2 * hidden + j, count);
      const VF before = h_prev == nullptr ? hn::Zero(d) : load_some(h_prev + at, count);
      const VF g = load_some(dh + at, count);
      const VF dn = hn::Mul(hn::Mul(g, hn::Sub(one, update)), hn::NegMulAdd(fresh, fresh, one));
      const VF dz = hn::Mul(hn::Mul(g, hn::Sub(before, fresh)), hn::NegMulAdd(update, update, update));
      const VF dr = hn::Mul(hn::Mul(dn, recurrent), hn::NegMulAdd(reset, reset, reset));
      store_some(dr, dx + j, count);
      store_some(dz, dx + hidden + j, count);
      store_some(dn, dx + 2 * hidden + j, count);
      store_some(dr, dy + j, count);
      store_some(dz, dy + hidden + j, count);
      store_some(hn::Mul(dn, reset), dy + 2 * hidden + j, count);
      if (dh_prev != nullptr) store_some(hn::Mul(g, update), dh_prev + at, count);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <cstring>

#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"
#include "kernels/dispatch.hpp"
#include "kernels/grain.hpp"

namespace fovea::kernels {

namespace {

// A cell costs about five exponentials an element.
int64_t cell_grain(int64_t hidden) {
  return row_grain(hidden, kCostlyGrain / 2);
}

const float* at(const float* p, int64_t offset) {
  return p == nullptr ? nullptr : p + offset;
}
float* at(float* p, int64_t offset) {
  return p == nullptr ? nullptr : p + offset;
}

}  // namespace

void lstm_cell_forward(int64_t rows, int64_t hidden, float* gates, const float* c_prev, float* c, float* h) {
  auto* body = FOVEA_KERNEL(lstm_forward_body);
  parallel_for(rows, cell_grain(hidden), [&](int64_t begin, int64_t end) {
    const int64_t o = begin * hidden;
    body(end - begin, hidden, gates + 4 * o, at(c_prev, o), c + o, h + o);
  });
}

void lstm_cell_backward(int64_t rows, int64_t hidden, const float* gates, const float* c_prev, const float* c,
                        const float* dh, const float* dc, float* dgates, float* dc_prev) {
  auto* body = FOVEA_KERNEL(lstm_backward_body);
  parallel_for(rows, cell_grain(hidden), [&](int64_t begin, int64_t end) {
    const int64_t o = begin * hidden;
    body(end - begin, hidden, gates + 4 * o, at(c_prev, o), c + o, at(dh, o), at(dc, o), dgates + 4 * o,
         at(dc_prev, o));
  });
}

void gru_cell_forward(int64_t rows, int64_t hidden, float* gx, const float* gh, const float* h_prev,
                      float* h) {
  auto* body = FOVEA_KERNEL(gru_forward_body);
  parallel_for(rows, cell_grain(hidden), [&](int64_t begin, int64_t end) {
    const int64_t o = begin * hidden;
    body(end - begin, hidden, gx + 3 * o, gh + 3 * o, at(h_prev, o), h + o);
  });
}

void gru_cell_backward(int64_t rows, int64_t hidden, const float* activated, const float* gh,
                       const float* h_prev, const float* dh, float* dgx, float* dgh, float* dh_prev) {
  auto* body = FOVEA_KERNEL(gru_backward_body);
  parallel_for(rows, cell_grain(hidden), [&](int64_t begin, int64_t end) {
    const int64_t o = begin * hidden;
    body(end - begin, hidden, activated + 3 * o, gh + 3 * o, at(h_prev, o), dh + o, dgx + 3 * o, dgh + 3 * o,
         at(dh_prev, o));
  });
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
