// Bag of n-grams: a text as a sparse vector of its words, word pairs and character pieces, weighted by tf-idf
// (Salton & Buckley, 1988). The features of the linear baseline.
//
// Words are runs of letters, digits and bytes above 127, so that any UTF-8 script works; ASCII letters are
// lowered. Character n-grams stay inside one word, with a mark at each end ("<cat>"), as fastText and
// scikit-learn's char_wb do. A feature is known by a 64-bit hash of its kind and text: among a million
// features the chance that any two share one is below 1e-7.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "fovea/tensor/tensor.hpp"

namespace fovea::models {

// Which features a text has.
struct NgramOptions {
  int words = 2;  // longest word n-gram; 0 = none. Pairs are worth about one point on short texts
  int chars_min = 2, chars_max = 5;  // character n-grams, in bytes; chars_max 0 = none
  int64_t min_count = 2;             // features of fewer texts say nothing about other texts
  int64_t max_features = 1 << 20;    // the most frequent are kept; bounds memory at classes x this
};

// Sparse rows packed as everything else is: row n holds entries [offsets[n], offsets[n + 1]).
struct SparseRows {
  std::vector<int64_t> offsets{0};  // [N + 1], the first 0
  std::vector<int32_t> columns;     // of each entry, ascending within a row
  std::vector<float> values;        // of each entry
  int64_t count() const { return static_cast<int64_t>(offsets.size()) - 1; }  // N
};

// Immutable once fitted; transform() may be called from many threads.
class Ngrams {
 public:
  Ngrams() = default;
  // Chooses the features of these texts. idf(f) = ln((1 + N) / (1 + texts with f)) + 1, scikit-learn's
  // smoothing. ArgumentError if the options allow no feature at all.
  static Ngrams fit(std::span<const std::string_view> texts, const NgramOptions& options);
  // From what hashes() and idf() gave. DataError named by `where` unless both are [F] and the hashes ascend.
  static Ngrams restore(const NgramOptions& options, Tensor hashes, Tensor idf, std::string_view where);

  const NgramOptions& options() const { return options_; }  // as it was fitted
  int64_t size() const { return hashes_.numel(); }          // F
  const Tensor& hashes() const { return hashes_; }          // [F] int64, ascending
  const Tensor& idf() const { return idf_; }                // [F] f32

  // Appends the row of a text: (1 + ln count) * idf, the word part and the character part each scaled to
  // Euclidean length 1/sqrt(parts), so that neither drowns the other. Unknown features are skipped; columns
  // ascend.
  void transform(std::string_view text, SparseRows& rows) const;

 private:
  void index();
  NgramOptions options_;
  Tensor hashes_, idf_;
  std::vector<int32_t> slots_;  // open addressing over hashes_, -1 = free
};

}  // namespace fovea::models
