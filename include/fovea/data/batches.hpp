// PackingLoader: sequences of any length into batches by token budget, without padding. An epoch's order is a
// function of (seed, epoch) alone, so training resumes at (epoch, batch) exactly, and does not depend on
// threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fovea::data {

// In which order an epoch gives the sequences.
enum class BatchOrder {
  kSequential,      // as given: evaluation
  kShuffled,        // every sequence in a random place
  kSimilarLengths,  // random, but a batch's sequences are of similar length, batches in random order
};

// How large a batch is, and in which order.
struct PackingOptions {
  int64_t max_tokens = 4096;  // of a batch: fills two cores' matrix products at the widths trained here
  int64_t max_sequences = 0;  // of a batch; 0: no bound
  // Nothing is padded, so similar lengths save no work; they help only where a cost grows with the longest
  // sequence.
  BatchOrder order = BatchOrder::kShuffled;
  uint64_t seed = 0;  // of the order; not read by kSequential
};

// Not for use by two threads at once.
class PackingLoader {
 public:
  // lengths[i] >= 0 tokens of sequence i, copied. A sequence longer than max_tokens makes a batch of its own.
  // ArgumentError: no sequence, a negative length, max_tokens < 1, max_sequences < 0.
  PackingLoader(std::span<const int64_t> lengths, const PackingOptions& options);

  // A place in the endless course of batches.
  struct Position {
    int64_t epoch = 0;  // counted from 0
    int64_t batch = 0;  // of the epoch, the next one to be given
    friend bool operator==(const Position&, const Position&) = default;
  };

  // The sequences of the next batch, in the order to pack them; valid until the next call. After an epoch's
  // last batch comes the first one of the next epoch. Every epoch gives every sequence exactly once.
  std::span<const int64_t> next();

  // Where next() stands: what a checkpoint saves. A position after an epoch's last batch reads {epoch + 1,
  // 0}.
  Position position() const { return position_; }
  // ArgumentError when the epoch has no such batch.
  void seek(Position position);

  // Of the epoch in which next() stands; epochs differ by a batch or two, because other sequences meet.
  int64_t batches_in_epoch() const { return static_cast<int64_t>(ends_.size()); }
  int64_t tokens_in_epoch() const { return tokens_; }

 private:
  void lay_out(int64_t epoch);

  std::vector<int64_t> lengths_;
  PackingOptions options_;
  int64_t tokens_ = 0;
  Position position_;
  std::vector<int64_t> order_;  // of the epoch
  std::vector<int64_t> ends_;   // batch b is order_[ends_[b - 1], ends_[b])
};

}  // namespace fovea::data
