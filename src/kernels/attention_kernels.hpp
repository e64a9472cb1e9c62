// Fused attention kernels: one query head of one sequence at a time, raw pointers, no allocation, no throw.
//
// Layout: scores are held transposed, S[key][query], so that vector lanes are queries: maxima, sums, masks
// and every statistic are vertical, K and V are read unpacked (broadcast), and only Q is packed (transposed,
// once).
#pragma once

#include <cstdint>

#include "fovea/base/random.hpp"
#include "fovea/kernels/softmax_row.hpp"

namespace fovea::kernels {

// A live tile of a block mask: 64 queries by 64 keys, of which not all are hidden.
struct AttentionTile {
  int32_t key_block = 0;  // keys from 64·key_block on
  int32_t words = -1;  // which 64 words of AttentionHead::tile_words (bit j of word i: query i sees key j);
                       // −1: every query sees every key
};

// What all passes share. Row i of x is x + i·x_stride. Rows may overlap no output.
struct AttentionHead {
  const float* q = nullptr;  // [q_length, width]
  const float* k = nullptr;  // [k_length, width]
  const float* v = nullptr;  // [k_length, value_width]
  int64_t q_stride = 0, k_stride = 0, v_stride = 0;
  int64_t q_length = 0, k_length = 0, width = 0, value_width = 0;
  // The score of rows q and k is q·k or, with differences, −Σ (q − k)²; with timelike as well, the last two
  // columns are the two parts of one number whose squared difference is added instead.
  bool differences = false, timelike = false;
  float scale = 1.0f;
  float gradient_scale = 1.0f;  // the derivative of a score by q·k, before softcap: scale, usually
  int64_t left = 0,
          right = 0;  // query i sees keys j with i' − left <= j <= i' + right, i' = i + k_length − q_length
  float softcap = 0.0f;             // 0: none
  const float* distance = nullptr;  // bias at distance[i' − j]; readable 63 beyond both ends; null: none
  const float* bias = nullptr;  // of query i and key j at i·bias_query_stride + j·bias_key_stride, added
  int64_t bias_query_stride = 0, bias_key_stride = 0;  // after softcap; −∞ hides the key; null: none
  const uint8_t* mask = nullptr;                       // likewise; 0 hides the key
  int64_t mask_query_stride = 0, mask_key_stride = 0;
  const AttentionTile* tiles = nullptr;  // of queries 64·t … 64·t + 63, ascending:
  const int64_t* tile_rows = nullptr;  // tiles[tile_rows[t]] … tiles[tile_rows[t + 1] − 1]; null: no mask
  const uint64_t* tile_words = nullptr;
  const float* sink = nullptr;  // one more logit; null: none
  uint32_t drop_below = 0;      // a weight is dropped when its 16 random bits are below this
  float keep_scale = 1.0f;
  RandomKey dropout_key{};
  uint32_t dropout_row = 0, dropout_row_step = 0;  // the random row of query i: dropout_row + i·step
};

// Per-row statistics of queries, element i·stride of each; null: not wanted.
struct AttentionStatistics {
  float* entropy = nullptr;
  float* max_weight = nullptr;
  int64_t* max_key = nullptr;
  int64_t* top_keys = nullptr;   // [k] at i·stride·k, strongest first; −1 behind the last, whose …
  float* top_weights = nullptr;  // … weight is 0
  int64_t top_k = 0;             // any number; of workspaces: no more than the longest k_length
  bool any() const { return entropy != nullptr || max_weight != nullptr || top_k > 0; }
};

// Per-row sums over the weights themselves, element i·stride of each; null: not wanted.
struct AttentionWeightSums {
  float* effective = nullptr;
  float* distance = nullptr;
  float* first = nullptr;
  float* near = nullptr;
  int64_t near_left = 0, near_right = 0;
  const int32_t* sets = nullptr;  // of the sequence's first key on
  int64_t set_count = 0;
  float* set_mass = nullptr;  // [set_count] at i·stride·set_count
  float* blocks = nullptr;    // element (row, column) of the 64 × 64 map at (row·columns + column)·stride
  bool any() const {
    return effective != nullptr || distance != nullptr || first != nullptr || near != nullptr ||
           set_mass != nullptr || blocks != nullptr;
  }
};

struct AttentionForwardTask {
  AttentionHead head;
  int64_t q_begin = 0, q_end = 0;  // the queries to do; q_begin a multiple of attention_query_chunk()
  float* out = nullptr;            // row i at out + i·out_stride
  int64_t out_stride = 0;
  float* lse = nullptr;           // may be null
  SoftmaxRow* softmax = nullptr;  // may be null
  int64_t row_stride = 0;         // of lse, softmax and the statistics
  AttentionStatistics statistics;
  AttentionWeightSums sums;
  // What is probably read next, fetched meanwhile: queries of a head, and its first keys; null: not known.
  const AttentionHead* next = nullptr;
  int64_t next_begin = 0, next_end = 0;
};

// Room for something of each pair of a query and a key, laid out as scores are, in tiles, so that kernels
// need no transpose: of the queries [q_begin, q_begin + queries) and the keys [k_begin, k_begin + keys), both
// from multiples of 64. A tile is made by the first who needs it.
struct ScoreTiles {
  float* memory = nullptr;  // of one query head, score_tiles_size floats; null: not wanted
  int64_t q_begin = 0, k_begin = 0, queries = 0, keys = 0;
};

struct AttentionBackwardTask {
  const AttentionHead* heads = nullptr;  // [group], the query heads that share a key head
  int64_t group = 1;
  int64_t out_head_stride = 0, dout_head_stride = 0, dq_head_stride = 0;
  int64_t ddistance_head_stride = 0, dbias_head_stride = 0;
  const float* out = nullptr;
  const float* dout = nullptr;
  int64_t out_stride = 0, dout_stride = 0;
  const SoftmaxRow* softmax = nullptr;  // of query i and head h at softmax[i·row_stride + h]
  const float* dlse = nullptr;          // the gradient of the natural lse, at the same places; null: 0
  int64_t row_stride = 0;
  int64_t k_begin = 0, k_end = 0;  // the keys to do, of whose dq this is the share
  int64_t q_begin = 0, q_end = 0;  // the queries to do, from a multiple of 64: no other dq is touched, …
  float* dq = nullptr;             // null: not wanted
  float* dk = nullptr;             // … dk and dv are their share
  float* dv = nullptr;
  int64_t dq_stride = 0, dk_stride = 0, dv_stride = 0;
  bool add_dq = false;         // add to dq instead of writing it
  bool add_keys = false;       // add to dk and dv
  float* ddistance = nullptr;  // added to, at the same index as distance; null: not wanted
  float* dbias = nullptr;      // added to, at i·dbias_query_stride + j·dbias_key_stride; null: not wanted
  int64_t dbias_query_stride = 0, dbias_key_stride = 0;
  ScoreTiles bias_sums;  // added to, instead of dbias: sums of dS over heads and sequences
  int64_t bias_sums_head_stride = 0;
  ScoreTiles bias_tiles;  // of the bias that all heads share and whose keys lie side by side, copied once
  const AttentionBackwardTask* next =
      nullptr;  // probably done next, its rows fetched meanwhile; null: not known
};

struct AttentionMassTask {
  AttentionHead head;
  int64_t k_begin = 0,
          k_end = 0;  // the keys to do, from a multiple of 64; all of them where `sums` are wanted
  const SoftmaxRow* softmax = nullptr;  // at i·row_stride
  int64_t row_stride = 0;
  float* mass = nullptr;  // of key j at j·mass_stride; added to; null: not wanted
  int64_t mass_stride = 0;
  AttentionWeightSums sums;  // from a second pass, for kernels that do not sum in the first
};

// The kernels of one instruction set. `workspace` is 64-byte aligned and as large as the matching size says,
// in floats.
struct AttentionKernels {
  void (*forward)(const AttentionForwardTask&, float* workspace);
  void (*backward)(const AttentionBackwardTask&, float* workspace);
  void (*mass)(const AttentionMassTask&, float* workspace);
  int64_t (*forward_workspace)(int64_t width, int64_t value_width, int64_t top_k);
  int64_t (*backward_workspace)(int64_t width, int64_t value_width, int64_t keys);
  int64_t (*mass_workspace)(int64_t width);
  // Beside the two workspaces, in one with them, where `sums` are wanted of sequences of so many keys.
  int64_t (*forward_sums_workspace)(const AttentionWeightSums& sums, int64_t keys);
  int64_t (*mass_sums_workspace)(const AttentionWeightSums& sums, int64_t keys);
  int64_t query_chunk;  // queries of one forward task
  int64_t (*score_tiles_size)(int64_t queries, int64_t keys);
  void (*begin_score_tiles)(const ScoreTiles& tiles);  // no tile is made yet
  // dbias, the place of query and key 0, += the tiles that are made, of their rows [begin, end) from a
  // multiple of 64.
  void (*add_score_tiles)(const ScoreTiles& tiles, int64_t begin, int64_t end, float* dbias,
                          int64_t query_stride, int64_t key_stride);
};

// Of current_isa().
const AttentionKernels& attention_kernels();

}  // namespace fovea::kernels
