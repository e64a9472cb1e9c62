#include "fovea/data/batches.hpp"

#include <algorithm>
#include <numeric>

#include "base/check.hpp"
#include "fovea/base/random.hpp"

namespace fovea::data {

namespace {
// Sequences are sorted by length within stretches of this many batches: enough for batches of like lengths,
// few enough that a sequence still meets others every epoch.
constexpr int64_t kStretchBatches = 50;
}  // namespace

PackingLoader::PackingLoader(std::span<const int64_t> lengths, const PackingOptions& options)
    : lengths_(lengths.begin(), lengths.end()), options_(options) {
  constexpr const char* kCall = "PackingLoader";
  check_argument(!lengths.empty(), kCall, "expected at least one sequence, got none");
  check_argument(options.max_tokens >= 1, kCall, "expected max_tokens of at least 1, got {}",
                 options.max_tokens);
  check_argument(options.max_sequences >= 0, kCall, "expected max_sequences of at least 0, got {}",
                 options.max_sequences);
  for (const int64_t length : lengths_) {
    check_argument(length >= 0, kCall, "expected lengths of at least 0, got {}", length);
    tokens_ += length;
  }
  lay_out(0);
}

void PackingLoader::lay_out(int64_t epoch) {
  const size_t count = lengths_.size();
  order_.resize(count);
  std::iota(order_.begin(), order_.end(), int64_t{0});
  Random random(RandomKey{options_.seed, static_cast<uint64_t>(epoch)});
  const auto length = [&](int64_t i) { return lengths_[static_cast<size_t>(i)]; };
  if (options_.order != BatchOrder::kSequential) random.shuffle(order_);
  if (options_.order == BatchOrder::kSimilarLengths) {
    int64_t sum = 0;
    size_t begin = 0;
    for (size_t i = 0; i < count; ++i) {
      sum += length(order_[i]);
      if (sum < options_.max_tokens * kStretchBatches && i + 1 < count) continue;
      std::stable_sort(order_.begin() + static_cast<int64_t>(begin),
                       order_.begin() + static_cast<int64_t>(i + 1),
                       [&](int64_t a, int64_t b) { return length(a) < length(b); });
      begin = i + 1;
      sum = 0;
    }
  }
  ends_.clear();
  int64_t tokens = 0;
  int64_t begin = 0;
  for (size_t i = 0; i < count; ++i) {
    const int64_t more = length(order_[i]);
    const auto at = static_cast<int64_t>(i);
    const bool full = tokens + more > options_.max_tokens ||
                      (options_.max_sequences > 0 && at - begin == options_.max_sequences);
    if (at > begin && full) {
      ends_.push_back(at);
      begin = at;
      tokens = 0;
    }
    tokens += more;
  }
  ends_.push_back(static_cast<int64_t>(count));
  if (options_.order != BatchOrder::kSimilarLengths) return;

  // Batches in random order: the sequences are rearranged so that a batch stays a stretch of order_.
  std::vector<size_t> batches(ends_.size());
  std::iota(batches.begin(), batches.end(), size_t{0});
  random.shuffle(batches);
  std::vector<int64_t> order;
  std::vector<int64_t> ends;
  order.reserve(count);
  ends.reserve(ends_.size());
  for (const size_t b : batches) {
    order.insert(order.end(), order_.begin() + (b == 0 ? 0 : ends_[b - 1]), order_.begin() + ends_[b]);
    ends.push_back(static_cast<int64_t>(order.size()));
  }
  order_.swap(order);
  ends_.swap(ends);
}

std::span<const int64_t> PackingLoader::next() {
  // The next epoch is laid out when its first batch is asked for: until then the last span stays valid.
  if (position_.batch == 0 && position_.epoch > 0) lay_out(position_.epoch);
  const auto b = static_cast<size_t>(position_.batch);
  const int64_t begin = b == 0 ? 0 : ends_[b - 1];
  const std::span<const int64_t> batch(order_.data() + begin, static_cast<size_t>(ends_[b] - begin));
  if (++position_.batch == batches_in_epoch()) position_ = {position_.epoch + 1, 0};
  return batch;
}

void PackingLoader::seek(Position position) {
  check_argument(position.epoch >= 0, "PackingLoader::seek", "expected an epoch of at least 0, got {}",
                 position.epoch);
  lay_out(position.epoch);
  check_argument(position.batch >= 0 && position.batch < batches_in_epoch(), "PackingLoader::seek",
                 "expected a batch from 0 to {}, got {}", batches_in_epoch() - 1, position.batch);
  position_ = position;
}

}  // namespace fovea::data
