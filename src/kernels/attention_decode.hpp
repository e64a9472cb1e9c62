// Attention of a few rows (queries × grouped heads) on the keys of one key head in a block of a cache. Lanes
// lie along D: a row of K or V is read and widened once for several rows. Raw pointers; no allocation, no
// throw.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fovea/base/cpu.hpp"
#include "fovea/kernels/softmax_row.hpp"

namespace fovea::kernels {

// How a cache holds numbers.
enum class DecodeType : uint8_t { kF32, kBF16, kF16, kInt8 };

// Whether rows are multiplied in 16 bits (attention_decode_narrow-inl.hpp), and by whom.
enum class DecodeNarrow : uint8_t {
  kNo,
  kUsual,         // int8: what the instruction set has; bf16: float32 arithmetic, for tests
  kInstructions,  // AVX-512-VNNI, AVX-512-BF16
};

// How a block of a cache lies in memory: one key head after the other, a head in runs of at most `run`
// tokens. A run is [keys][values][scales of keys][scales of values], so that a head is read from end to end.
struct DecodeLayout {
  int64_t block = 0, run = 0;              // tokens
  int64_t key_bytes = 0, value_bytes = 0;  // of a token
  int64_t scale_bytes = 0;                 // of a token's key, and of its value; 0: none

  struct Place {
    int64_t k = 0, v = 0, k_scale = 0, v_scale = 0;  // bytes from where the head begins
    int64_t end = 0;                                 // token of the block at which the run ends
  };
  static constexpr int64_t kLine = 64;
  int64_t run_bytes(int64_t tokens) const {
    return (tokens * (key_bytes + value_bytes + 2 * scale_bytes) + kLine - 1) / kLine * kLine;
  }
  int64_t head_bytes() const { return block / run * run_bytes(run) + run_bytes(block % run); }
  // Of a token in [0, block).
  Place place(int64_t token) const {
    const int64_t index = token / run, within = token % run, first = token - within;
    const int64_t tokens = run < block - first ? run : block - first, from = index * run_bytes(run);
    Place at;
    at.k = from + within * key_bytes;
    at.v = from + tokens * key_bytes + within * value_bytes;
    at.k_scale = from + tokens * (key_bytes + value_bytes) + within * scale_bytes;
    at.v_scale = at.k_scale + tokens * scale_bytes;
    at.end = first + tokens;
    return at;
  }
};
// Tokens of a run: about 16 KB of keys, a third of the first-level cache, and at most 128.
inline constexpr int64_t kDecodeRunTokens = 128;
DecodeLayout decode_layout(DecodeType type, int64_t width, int64_t value_width, int64_t block);

// The softmax state of rows over the keys so far, in units of log2.
struct DecodeState {
  float* max = nullptr;  // [rows]
  float* sum = nullptr;  // [rows] Σ 2^(s − max)
  float* out = nullptr;  // [rows][value_width] Σ 2^(s − max)·v
};

struct DecodeTask {
  DecodeType type = DecodeType::kF32;
  DecodeLayout layout;
  const std::byte* head = nullptr;  // of a block, the key head's part
  // That of the block which is read next, to be fetched ahead; may be null.
  const std::byte* next = nullptr;
  int64_t first_token = 0;  // of the block
  // Or, with head null, keys and values at strides of bytes, worked on layout.run at a time.
  const std::byte* k = nullptr;
  const std::byte* v = nullptr;
  int64_t k_stride = 0, v_stride = 0;
  int64_t keys = 0, width = 0, value_width = 0;  // widths multiples of 16
  const float* q = nullptr;                      // [rows][width], times scale·log2 e; or, in its place, …
  DecodeNarrow narrow = DecodeNarrow::kNo;
  const float* words = nullptr;      // … [rows][width / 2] as narrow_rows wrote them, whose products are
  const float* row_scale = nullptr;  // … to be multiplied with [rows + 3]
  int64_t rows = 0;
  // Row r sees the keys [first[r], end[r]).
  const int64_t* first = nullptr;
  const int64_t* end = nullptr;
  const float* key_factor = nullptr;  // [keys], of scores; null: 1
  // Σ_e row_extra[e·rows + r]·key_extra[e·keys + j] is added to a score, after that; null, 0: nothing.
  const float* row_extra = nullptr;
  const float* key_extra = nullptr;
  int64_t extras = 0;  // at most 2
  float softcap = 0.0f;
  const float* const* distance = nullptr;  // row r and key j add distance[r][−j]; null: none
  float* scores = nullptr;  // row r and key j at r·scores_stride + j, −∞ out of sight; may be null
  int64_t scores_stride = 0;
  DecodeState state;
};

// Scores of a row, in units of log2, to weights in place; its entropy in nats over them and the sink.
struct DecodeWeights {
  float* scores = nullptr;  // [keys]
  int64_t keys = 0;
  SoftmaxRow softmax;
};

struct DecodeKernels {
  void (*run)(const DecodeTask&, float* workspace);
  int64_t (*workspace)(int64_t value_width);  // floats
  // Whether run takes such rows in 16 bits. No: too few to gain by it, or no kernel for them.
  bool (*narrows)(DecodeType, int64_t rows, int64_t width);
  // words and row_scale of a task from rows [rows][width] and their scale.
  void (*narrow_rows)(DecodeType, const float* rows, int64_t count, int64_t width, float scale, float* words,
                      float* row_scale);
  // squared[j] = |k_j|² for the keys of a task.
  void (*squares)(const DecodeTask&, float* squared);
  // Σ −w·ln w of the row's keys.
  float (*weigh)(const DecodeWeights&);
};

// Of current_isa().
const DecodeKernels& decode_kernels();

}  // namespace fovea::kernels
