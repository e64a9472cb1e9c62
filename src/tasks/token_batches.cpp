#include "tasks/token_batches.hpp"

#include <numeric>

#include "fovea/base/random.hpp"

namespace fovea::tasks {

TokenBatches token_batches(std::span<const int64_t> lengths, int64_t budget, uint64_t seed, int64_t epoch) {
  TokenBatches result;
  result.order.resize(lengths.size());
  std::iota(result.order.begin(), result.order.end(), 0);
  // Streams of data order lie apart from those of initialisation (small) and dropout (the upper half).
  Random random(RandomKey{seed, (uint64_t{1} << 40) + static_cast<uint64_t>(epoch)});
  random.shuffle(result.order);
  int64_t tokens = 0;
  for (size_t i = 0; i < result.order.size(); ++i) {
    const int64_t length = lengths[static_cast<size_t>(result.order[i])];
    if (tokens > 0 && tokens + length > budget) {
      result.begins.push_back(static_cast<int64_t>(i));
      tokens = 0;
    }
    tokens += length;
  }
  if (!result.order.empty()) result.begins.push_back(static_cast<int64_t>(result.order.size()));
  return result;
}

}  // namespace fovea::tasks
