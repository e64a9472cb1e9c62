// Attention of a few rows (queries × grouped heads) on a run of cached keys of one key head. Lanes lie along
// D: a row of K or V is read and widened once for several rows. Raw pointers; no allocation, no throw.
#pragma once

#include <cstdint>

#include "fovea/base/cpu.hpp"

namespace fovea::kernels {

// How a cache holds numbers.
enum class DecodeType : uint8_t { kF32, kBF16, kF16, kInt8 };

// The softmax state of rows over the keys so far, in units of log2.
struct DecodeState {
  float* max = nullptr;  // [rows]
  float* sum = nullptr;  // [rows] Σ 2^(s − max)
  float* out = nullptr;  // [rows][value_width] Σ 2^(s − max)·v
};

struct DecodeTask {
  DecodeType type = DecodeType::kF32;
  const void* k = nullptr;         // [keys][width]
  const void* v = nullptr;         // [keys][value_width]
  const float* k_scale = nullptr;  // [keys]; int8, and scores that need it
  const float* v_scale = nullptr;
  int64_t keys = 0, width = 0, value_width = 0;  // widths multiples of 16
  const void* next_k = nullptr;  // what will be read after this run, to be fetched ahead; null: nothing
  const void* next_v = nullptr;
  const float* q = nullptr;  // [rows][width], times scale·log2 e
  int64_t rows = 0;
  // Row r sees the keys [first[r], end[r]) of the run.
  const int64_t* first = nullptr;
  const int64_t* end = nullptr;
  // Σ_e row_extra[e·rows + r]·key_extra[e·keys + j] is added to a score, after k_scale; null, 0: nothing.
  const float* row_extra = nullptr;
  const float* key_extra = nullptr;
  int64_t extras = 0;  // at most 2
  float softcap = 0.0f;
  const float* const* distance = nullptr;  // row r and key j add distance[r][−j]; null: none
  float* scores = nullptr;  // row r and key j at r·scores_stride + j, kMaskedScore out of sight; may be null
  int64_t scores_stride = 0;
  DecodeState state;
};

inline constexpr float kMaskedScore = -1e30f;

// Scores of a row, in units of log2, to weights in place; its entropy in nats over them and the sink.
struct DecodeWeights {
  float* scores = nullptr;  // [keys]
  int64_t keys = 0;
  float lse = 0.0f;  // in units of log2
};

struct DecodeKernels {
  void (*run)(const DecodeTask&, float* workspace);
  int64_t (*workspace)(int64_t rows, int64_t width);  // floats
  // squared[j] = |k_j|² for the keys of a task.
  void (*squares)(const DecodeTask&, float* squared);
  // Σ −w·ln w of the row's keys.
  float (*weigh)(const DecodeWeights&);
};

// Of current_isa().
const DecodeKernels& decode_kernels();

}  // namespace fovea::kernels
