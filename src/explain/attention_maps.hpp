// One example's attention maps as the page stores them, with the figures that need the exact weights.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "explain/quantise.hpp"
#include "fovea/explain/page.hpp"

namespace fovea::explain {

// Figures of one head over its N queries.
struct HeadFigures {
  double entropy = 0;  // mean over queries, as a share of the largest possible, log(number of visible keys)
  double first_share = 0;         // mean weight on the first token
  double self_share = 0;          // mean weight on the query itself
  double distance = 0;            // mean of Σ w·|query − key|
  double strongest = 0;           // mean of the largest weight
  std::vector<int64_t> top_keys;  // up to 5, by received mass, strongest first
};

struct EncodedHead {
  HeadFigures figures;
  std::string rows;  // deflated, base64: the codes of whole rows, or of the strongest keys (see page.md)
  std::string
      overview;  // deflated, base64: codes of the [tiles, tiles] largest weights, then of the mean weights
  std::string
      row_entropy;       // base64, u8 [N]: entropy of each row as a share of the largest possible, times 255
  std::string key_mass;  // base64, u8 [N]: mean weight on each key, coded like a weight
};

struct EncodedAttention {
  Quantiser quantiser{};
  int64_t top_k = 0;               // 0: rows are whole; otherwise the number of keys kept in each row
  int64_t tiles = 0;               // side of the overviews
  std::vector<EncodedHead> heads;  // [layers, heads]
};

// `tokens` is N. See PageOptions for how the precision is chosen.
EncodedAttention encode_attention(const PageAttention& attention, int64_t tokens, const PageOptions& options);

}  // namespace fovea::explain
