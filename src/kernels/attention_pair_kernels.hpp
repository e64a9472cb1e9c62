// Fused attention on bf16 inputs: products of bf16 pairs summed in float32, in the layout of
// attention_kernels.hpp (scores transposed, lanes are queries). Weights and score gradients are rounded to
// bf16 for the second products.
#pragma once

#include <cstdint>
#include <span>

#include "fovea/base/cpu.hpp"
#include "fovea/tensor/dtype.hpp"
#include "kernels/attention_kernels.hpp"

namespace fovea::kernels {

struct PairForwardTask {
  AttentionHead head;  // lengths, widths and options; its q, k and v are not looked at
  const BFloat16* q = nullptr;
  int64_t q_stride = 0;
  const float* keys = nullptr;     // the key head, as pack_keys and …
  const float* values = nullptr;   // … pack_values wrote it
  int64_t q_begin = 0, q_end = 0;  // the queries to do; q_begin a multiple of query_chunk
  BFloat16* out = nullptr;         // row i at out + i·out_stride; or …
  float* out_wide = nullptr;       // … not rounded
  int64_t out_stride = 0;
  float* lse = nullptr;           // may be null
  SoftmaxRow* softmax = nullptr;  // may be null
  int64_t row_stride = 0;         // of lse, softmax and the statistics
  AttentionStatistics statistics;
};

// Rows of a key head that pack: keys [begin, end) of `length`, begin a multiple of 64.
struct PairPackTask {
  const BFloat16* x = nullptr;
  int64_t stride = 0, width = 0, length = 0, begin = 0, end = 0;
  float* packed = nullptr;  // of the whole head
};

struct PairBackwardTask {
  const AttentionHead* heads = nullptr;  // [group], the query heads that share this key head; as above, and
  int64_t group = 1;                     // of one scale
  const BFloat16* q = nullptr;
  const BFloat16* k = nullptr;
  const BFloat16* v = nullptr;
  const BFloat16* dout = nullptr;
  int64_t q_stride = 0, k_stride = 0, v_stride = 0, dout_stride = 0;
  int64_t q_head_stride = 0, dout_head_stride = 0, dq_head_stride = 0;
  const SoftmaxRow* softmax = nullptr;  // of query i and head h at softmax[i·row_stride + h]
  const float* delta = nullptr;         // rowsum(dout∘out) − dlse, at the same places
  int64_t row_stride = 0;
  int64_t k_begin = 0, k_end = 0;  // the keys to do, of whose dq this is the share
  int64_t q_begin = 0, q_end = 0;  // the queries to do, from a multiple of 64: dk and dv are their share
  float* dq = nullptr;             // null: not wanted
  BFloat16 *dk = nullptr, *dv = nullptr;         // of key k_begin on; null: not wanted; or …
  float *dk_wide = nullptr, *dv_wide = nullptr;  // … not rounded
  int64_t dq_stride = 0, dk_stride = 0, dv_stride = 0;
  bool add_dq = false;         // add to dq instead of writing it
  bool add_keys = false;       // add to dk_wide and dv_wide
  float* ddistance = nullptr;  // added to, at the same index as distance; null: not wanted
  float* dbias = nullptr;      // added to, at i·dbias_query_stride + j·dbias_key_stride; null: not wanted
  int64_t ddistance_head_stride = 0, dbias_head_stride = 0;
  int64_t dbias_query_stride = 0, dbias_key_stride = 0;
  ScoreTiles bias_sums;  // added to, instead of dbias, …
  int64_t bias_sums_head_stride = 0;
  ScoreTiles bias_tiles;  // … and a copy of the bias, both as in AttentionBackwardTask
};

// The kernels over one engine of products. Workspaces are 64-byte aligned, in floats.
struct PairKernels {
  void (*forward)(const PairForwardTask&, float* workspace);
  void (*backward)(const PairBackwardTask&, float* workspace);
  void (*pack_keys)(const PairPackTask&, float* workspace);
  void (*pack_values)(const PairPackTask&, float* workspace);
  int64_t (*forward_workspace)(int64_t width, int64_t value_width, int64_t top_k);
  int64_t (*backward_workspace)(int64_t width, int64_t value_width, int64_t keys);
  int64_t (*packed_keys)(int64_t length, int64_t width);    // floats
  int64_t (*packed_values)(int64_t length, int64_t width);  // floats
  int64_t query_chunk;
  int64_t lanes;  // of a vector; with one, a column cannot hold pairs of queries, and backward is not served
};

// Who multiplies the pairs.
enum class PairEngine : uint8_t {
  kSoftware,       // float32 arithmetic of any instruction set: exact products, for tests
  kSoftwareTiles,  // the same in the tiles of kAmx
  kInstruction,    // AVX-512-BF16
  kAmx,            // tile registers
};

// Of current_isa() for the software ones. The others only where the processor, and for kAmx the system, has
// them.
const PairKernels& pair_kernels(PairEngine engine);

}  // namespace fovea::kernels
