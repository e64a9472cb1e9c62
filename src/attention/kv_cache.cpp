#include "fovea/attention/kv_cache.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "attention/kv_cache_layout.hpp"
#include "base/check.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/kernels/convert.hpp"
#include "fovea/tensor/dtype.hpp"

namespace fovea {
namespace {

constexpr int64_t kPad = 16;  // floats of the widest vector

int64_t padded(int64_t width) {
  return (width + kPad - 1) / kPad * kPad;
}

// One row to the cache's type; the scale of int8.
float write_row(CacheType type, const float* x, int64_t width, int64_t row_bytes, std::byte* to) {
  std::memset(to, 0, static_cast<size_t>(row_bytes));
  switch (type) {
    case CacheType::kF32:
      std::memcpy(to, x, static_cast<size_t>(width) * sizeof(float));
      break;
    case CacheType::kBF16:
      kernels::to_bf16(width, x, reinterpret_cast<BFloat16*>(to));
      break;
    case CacheType::kF16:
      kernels::to_f16(width, x, reinterpret_cast<Float16*>(to));
      break;
    case CacheType::kInt8: {
      float most = 0, poison = 0;
      for (int64_t c = 0; c < width; ++c) most = std::max(most, std::abs(x[c]));
      for (int64_t c = 0; c < width; ++c) poison += 0.0f * x[c];
      if (poison != 0.0f) return poison;  // not finite: the whole row is NaN
      const float scale = most / 127.0f, inverse = most > 0 ? 127.0f / most : 0.0f;
      auto* row = reinterpret_cast<int8_t*>(to);
      for (int64_t c = 0; c < width; ++c) {
        row[c] = static_cast<int8_t>(std::lrint(std::clamp(x[c] * inverse, -127.0f, 127.0f)));
      }
      return scale;
    }
  }
  return 1.0f;
}

void read_row(CacheType type, const std::byte* from, float scale, int64_t width, float* to) {
  switch (type) {
    case CacheType::kF32:
      std::memcpy(to, from, static_cast<size_t>(width) * sizeof(float));
      break;
    case CacheType::kBF16:
      kernels::from_bf16(width, reinterpret_cast<const BFloat16*>(from), to);
      break;
    case CacheType::kF16:
      kernels::from_f16(width, reinterpret_cast<const Float16*>(from), to);
      break;
    case CacheType::kInt8:
      for (int64_t c = 0; c < width; ++c) {
        to[c] = scale * static_cast<float>(reinterpret_cast<const int8_t*>(from)[c]);
      }
      break;
  }
}

}  // namespace

// Its memory is laid out as DecodeLayout says, for each head.
struct KvCache::Block {
  explicit Block(size_t bytes) : memory(bytes) {}
  Block(const Block& other) : memory(other.memory.size()) {
    std::memcpy(memory.data(), other.memory.data(), memory.size());
  }
  Block& operator=(const Block&) = delete;
  Buffer<std::byte> memory;
};

const char* to_string(CacheType type) {
  switch (type) {
    case CacheType::kF32:
      return "float32";
    case CacheType::kBF16:
      return "bfloat16";
    case CacheType::kF16:
      return "float16";
    case CacheType::kInt8:
      return "int8";
  }
  return "unknown";
}

KvCache::KvCache(const KvCacheOptions& options) : options_(options) {
  const char* call = "KvCache";
  check_argument(options.kv_heads >= 1, call, "expected at least one head, got {}", options.kv_heads);
  check_argument(
      options.width >= 1 && options.width <= 1024 && options.value_width >= 1 && options.value_width <= 1024,
      call, "expected widths between 1 and 1024, got {} and {}", options.width, options.value_width);
  check_argument(options.block >= 1 && options.block <= (int64_t{1} << 24), call,
                 "expected a block of 1 to 2^24 tokens, got {}", options.block);
  check_argument(options.window >= 0, call, "expected window >= 0, got {}", options.window);
  padded_width_ = padded(options.width);
  padded_value_width_ = padded(options.value_width);
}

int64_t KvCache::bytes() const {
  return blocks() * options_.kv_heads * layout_of(*this).head_bytes();
}

// The memory of the block that holds a slot (token + skipped_), its own alone.
std::byte* KvCache::writable_slot(int64_t slot) {
  const auto index = static_cast<size_t>(slot / options_.block);
  if (index == blocks_.size()) {
    const auto size = static_cast<size_t>(options_.kv_heads * layout_of(*this).head_bytes());
    blocks_.push_back(std::allocate_shared<Block>(PoolAllocator<Block>(), size));
  } else if (blocks_[index].use_count() > 1) {
    blocks_[index] = std::allocate_shared<Block>(PoolAllocator<Block>(), std::as_const(*blocks_[index]));
  }
  return blocks_[index]->memory.data();
}

void KvCache::append(HeadsView<const float> k, HeadsView<const float> v) {
  const KvCacheOptions& o = options_;
  const int64_t tokens = k.dim(0);
  check_argument(k.dim(1) == o.kv_heads && k.dim(2) == o.width && (tokens == 0 || k.stride(2) == 1),
                 "KvCache.append", "expected k [n, {}, {}] with an innermost stride of 1, got [{}, {}, {}]",
                 o.kv_heads, o.width, tokens, k.dim(1), k.dim(2));
  check_argument(v.dim(0) == tokens && v.dim(1) == o.kv_heads && v.dim(2) == o.value_width &&
                     (tokens == 0 || v.stride(2) == 1),
                 "KvCache.append", "expected v [{}, {}, {}] with an innermost stride of 1, got [{}, {}, {}]",
                 tokens, o.kv_heads, o.value_width, v.dim(0), v.dim(1), v.dim(2));
  check_argument(tokens == 0 || (k.data != nullptr && v.data != nullptr), "KvCache.append",
                 "expected k and v with data, got none");
  const kernels::DecodeLayout layout = layout_of(*this);
  for (int64_t t = 0; t < tokens; ++t) {
    const int64_t slot = skipped_ + length_;
    const kernels::DecodeLayout::Place at = layout.place(slot % o.block);
    std::byte* head = writable_slot(slot);
    for (int64_t h = 0; h < o.kv_heads; ++h, head += layout.head_bytes()) {
      const float k_scale = write_row(o.type, k.data + t * k.stride(0) + h * k.stride(1), o.width,
                                      layout.key_bytes, head + at.k);
      const float v_scale = write_row(o.type, v.data + t * v.stride(0) + h * v.stride(1), o.value_width,
                                      layout.value_bytes, head + at.v);
      if (o.type == CacheType::kInt8) {
        std::memcpy(head + at.k_scale, &k_scale, sizeof k_scale);
        std::memcpy(head + at.v_scale, &v_scale, sizeof v_scale);
      }
    }
    ++length_;
  }
  if (o.window > 0 && length_ > o.window) evict(length_ - o.window);
}

void KvCache::evict(int64_t tokens) {
  check_argument(tokens >= 0 && tokens <= length_, "KvCache.evict",
                 "expected between 0 and {} tokens, got {}", length_, tokens);
  length_ -= tokens;
  position_ += tokens;
  skipped_ += tokens;
  const int64_t whole = skipped_ / options_.block;
  blocks_.erase(blocks_.begin(), blocks_.begin() + whole);
  skipped_ -= whole * options_.block;
}

KvCache::Run KvCache::run_at(int64_t i, int64_t limit) const {
  const int64_t slot = skipped_ + i;
  Run run;
  run.memory = blocks_[static_cast<size_t>(slot / options_.block)]->memory.data();
  run.token = slot % options_.block;
  run.begin = i;
  run.end = std::min({limit, length_, i + options_.block - run.token});
  return run;
}

void KvCache::read(int64_t i, float* k, float* v) const {
  check_argument(i >= 0 && i < length_, "KvCache.read", "expected a token in [0, {}), got {}", length_, i);
  const Run run = run_at(i, i + 1);
  const kernels::DecodeLayout layout = layout_of(*this);
  const kernels::DecodeLayout::Place at = layout.place(run.token);
  for (int64_t h = 0; h < options_.kv_heads; ++h) {
    const std::byte* head = run.memory + h * layout.head_bytes();
    float k_scale = 1.0f, v_scale = 1.0f;
    if (options_.type == CacheType::kInt8) {
      std::memcpy(&k_scale, head + at.k_scale, sizeof k_scale);
      std::memcpy(&v_scale, head + at.v_scale, sizeof v_scale);
    }
    read_row(options_.type, head + at.k, k_scale, options_.width, k + h * options_.width);
    read_row(options_.type, head + at.v, v_scale, options_.value_width, v + h * options_.value_width);
  }
}

}  // namespace fovea
