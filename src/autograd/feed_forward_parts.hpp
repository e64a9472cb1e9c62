// How the feed-forward layer is cut, in every precision, and its bf16 form.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "fovea/autograd/functions/feed_forward.hpp"

namespace fovea::autograd {

// Rows go through the layer in chunks, each on one thread from x to y, so that the hidden values are still in
// cache when the activation and the second product read them. Chunks of about 100k hidden values fit there;
// from 96 rows on the products run at their full rate. From the shape alone; a power of two, which most
// numbers of threads divide evenly.
struct Chunks {
  Chunks(int64_t total, int64_t width) : rows(total) {
    const int64_t most = std::max<int64_t>(1, std::min(total / 96, total * width / 98304));
    count = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(most)));
  }
  int64_t begin(int64_t i) const { return i >= count ? rows : rows * i / count / 16 * 16; }

  int64_t rows;
  int64_t count;
};

// Backward needs the hidden gradients beside the hidden values: it makes and uses them in up to four spans of
// rows, so that they take a quarter of the memory. Spans of 1024 rows leave chunks for eight threads and the
// weights' products at their full rate. From the shape alone.
struct Spans {
  Spans(int64_t total, int64_t width) : rows(total) {
    const int64_t most = std::max<int64_t>(1, std::min(total / 1024, total * width / (1 << 20)));
    count = std::min<int64_t>(4, static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(most))));
  }
  int64_t begin(int64_t i) const { return i >= count ? rows : rows * i / count / 16 * 16; }

  int64_t rows;
  int64_t count;
};

// feed_forward under bf16 precision, its arguments checked.
Var half_feed_forward(const Var& x, const Var& up, const Var& up_bias, const Var& down, const Var& down_bias,
                      const FeedForwardOptions& options);

}  // namespace fovea::autograd
