// Random segmentations of a normalised text into the pieces of a unigram or BPE model. Internal.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/base/random.hpp"

namespace fovea::formats {

// Pieces by prefix: a trie whose edges (node, byte) -> node stand in one open-addressing table.
class PieceTrie {
 public:
  void add(std::string_view piece, int32_t id);

  static constexpr int32_t kRoot = 0;
  // The node after one more byte, or -1.
  int32_t step(int32_t node, unsigned char byte) const;
  // The piece that ends at this node, or -1.
  int32_t piece(int32_t node) const { return ids_[static_cast<size_t>(node)]; }

 private:
  struct Edge {
    uint64_t key = ~uint64_t{0};
    int32_t node = -1;
  };
  void insert(uint64_t key, int32_t node);
  void grow();

  std::vector<Edge> table_;
  size_t used_ = 0;
  std::vector<int32_t> ids_{-1};
};

// A normalised text: unit i (one character, or a run of unknown ones) is bytes [offsets[i], offsets[i + 1]).
struct Units {
  std::string text;
  std::vector<int32_t> offsets{0};

  size_t size() const { return offsets.size() - 1; }
};

// What is drawn: unit `begin` up to `end` is the piece `id` (-1: unknown).
struct Segment {
  size_t begin = 0;
  size_t end = 0;
  int32_t id = -1;
};

struct PieceModel {
  PieceTrie trie;
  std::vector<float> scores;  // by id; unigram: log probability, BPE: higher merges earlier
  float unknown_score = 0.0f;
};

// Unigram: P(segmentation) ∝ exp(strength · Σ score), drawn exactly by summing forward and drawing backward,
// cut where no piece crosses, so memory is bounded by the longest word.
std::vector<Segment> sample_unigram(const PieceModel& model, const Units& units, double strength,
                                    RandomKey key);

// BPE: best-scored merge first, each skipped with probability `dropout`.
std::vector<Segment> sample_bpe(const PieceModel& model, const Units& units, double dropout, RandomKey key);

}  // namespace fovea::formats
