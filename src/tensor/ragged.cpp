#include "fovea/tensor/ragged.hpp"

#include <algorithm>

#include "base/check.hpp"

namespace fovea {

Offsets::Offsets() {
  static const auto empty = std::make_shared<const std::vector<int64_t>>(1, 0);
  values_ = empty;
}

Offsets::Offsets(std::vector<int64_t> offsets) {
  check_argument(!offsets.empty() && offsets.front() == 0, "Offsets",
                 "expected offsets that begin with 0, got {}",
                 offsets.empty() ? std::string("none") : std::to_string(offsets.front()));
  for (size_t i = 1; i < offsets.size(); ++i) {
    check_argument(offsets[i] >= offsets[i - 1], "Offsets",
                   "expected offsets that never descend, got {} after {} at {}", offsets[i], offsets[i - 1],
                   i);
  }
  values_ = std::make_shared<const std::vector<int64_t>>(std::move(offsets));
}

Offsets Offsets::from_lengths(std::span<const int64_t> lengths) {
  std::vector<int64_t> values(lengths.size() + 1, 0);
  for (size_t i = 0; i < lengths.size(); ++i) {
    check_argument(lengths[i] >= 0, "Offsets", "expected lengths >= 0, got {} at {}", lengths[i], i);
    values[i + 1] = values[i] + lengths[i];
  }
  return Offsets(std::move(values));
}

Offsets Offsets::single(int64_t length) {
  return Offsets({0, length});
}

Offsets Offsets::uniform(int64_t count, int64_t length) {
  check_argument(count >= 0, "Offsets", "expected a count >= 0, got {}", count);
  return from_lengths(std::vector<int64_t>(static_cast<size_t>(count), length));
}

int64_t Offsets::max_length() const {
  int64_t longest = 0;
  for (int64_t n = 0; n < count(); ++n) longest = std::max(longest, length(n));
  return longest;
}

}  // namespace fovea
