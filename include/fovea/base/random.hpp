// Counter-based random numbers (Philox4x32-10; Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// 2011). A number is a function of (seed, stream, index) alone, so any thread can make any number in any
// order.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace fovea {

// One block of the generator: four words for a 128-bit counter under a 64-bit key.
constexpr std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> c, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ key[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ key[1], static_cast<uint32_t>(p0)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return c;
}

// What a random operation (dropout, sampling) is given: two calls with equal keys see equal numbers.
struct RandomKey {
  uint64_t seed = 0;    // of the whole run
  uint64_t stream = 0;  // which sequence of numbers under that seed: a layer and step, an epoch, a worker

  // Words 4·block … 4·block + 3 of this stream. Word i of the stream is block(i / 4)[i % 4].
  constexpr std::array<uint32_t, 4> block(uint64_t index) const {
    return philox4x32({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                       static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)},
                      {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  }
};

// What Random::below multiplies in; GCC and Clang have it on every 64-bit machine.
__extension__ typedef unsigned __int128 uint128;

// A sequence of numbers for code that runs on one thread (initialisation, shuffling, sampling). Its whole
// state is {key, position}, which a checkpoint saves.
class Random {
 public:
  // The stream of a key, from word `position` on; a seed alone means its stream 0.
  explicit Random(RandomKey key, uint64_t position = 0) : key_(key), position_(position) {}
  explicit Random(uint64_t seed) : Random(RandomKey{seed, 0}) {}

  // Where it stands: position counts the 32-bit words taken so far.
  RandomKey key() const { return key_; }
  uint64_t position() const { return position_; }

  // The next word of the stream: 32 even bits.
  uint32_t next_u32() {
    const uint64_t word = position_++;
    if (word / 4 != cached_index_) {
      cached_index_ = word / 4;
      cached_ = key_.block(cached_index_);
    }
    return cached_[word % 4];
  }
  // Two words, the first of them the upper half.
  uint64_t next_u64() {
    const uint64_t high = next_u32();
    return high << 32 | next_u32();
  }
  // Uniform in [0, 1), 24 bits.
  float uniform() { return static_cast<float>(next_u32() >> 8) * 0x1p-24f; }
  // Uniform in [0, 1), 53 bits.
  double uniform_double() { return static_cast<double>(next_u64() >> 11) * 0x1p-53; }
  // Uniform integer in [0, n), n > 0, without modulo bias (Lemire 2019).
  uint64_t below(uint64_t n) {
    while (true) {
      const uint64_t x = next_u64();
      const auto product = static_cast<uint128>(x) * n;
      if (static_cast<uint64_t>(product) >= (0 - n) % n) return static_cast<uint64_t>(product >> 64);
    }
  }
  // Standard normal (Box–Muller, one of the pair, so that the position is a function of the count alone).
  double normal() {
    const double u = 1.0 - uniform_double();
    const double v = uniform_double();
    return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
  }
  // Fisher–Yates.
  template <class Container>
  void shuffle(Container& items) {
    using std::swap;
    for (uint64_t i = items.size(); i > 1; --i) swap(items[i - 1], items[below(i)]);
  }

 private:
  RandomKey key_;
  uint64_t position_;
  uint64_t cached_index_ = ~uint64_t{0};
  std::array<uint32_t, 4> cached_{};
};

}  // namespace fovea
