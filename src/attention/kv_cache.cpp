#include "fovea/attention/kv_cache.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/check.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/kernels/convert.hpp"
#include "fovea/tensor/dtype.hpp"

namespace fovea {
namespace {

constexpr int64_t kPad = 16;  // floats of the widest vector

int64_t size_of_element(CacheType type) {
  switch (type) {
    case CacheType::kF32:
      return 4;
    case CacheType::kBF16:
    case CacheType::kF16:
      return 2;
    case CacheType::kInt8:
      return 1;
  }
  return 0;
}

int64_t padded(int64_t width) {
  return (width + kPad - 1) / kPad * kPad;
}

// One row to the cache's type; the scale of int8.
float write_row(CacheType type, const float* x, int64_t width, int64_t padded_width, std::byte* to) {
  std::memset(to, 0, static_cast<size_t>(padded_width * size_of_element(type)));
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

// Keys [Hkv][block][padded D], then values [Hkv][block][padded Dv], then for int8 the scales of both
// [Hkv][block].
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

// Where a block's parts begin, in bytes.
struct Parts {
  int64_t values, k_scales, v_scales, end;
  Parts(const KvCacheOptions& o, int64_t width, int64_t value_width) {
    const int64_t rows = o.kv_heads * o.block, element = size_of_element(o.type);
    values = rows * width * element;
    k_scales = values + rows * value_width * element;
    v_scales = k_scales + (o.type == CacheType::kInt8 ? rows * 4 : 0);
    end = v_scales + (v_scales - k_scales);
  }
};

int64_t KvCache::bytes() const {
  return blocks() * Parts(options_, padded_width_, padded_value_width_).end;
}

// The memory of the block that holds a slot (token + skipped_), its own alone.
std::byte* KvCache::writable_slot(int64_t slot) {
  const auto index = static_cast<size_t>(slot / options_.block);
  if (index == blocks_.size()) {
    const auto size = static_cast<size_t>(Parts(options_, padded_width_, padded_value_width_).end);
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
  const Parts parts(o, padded_width_, padded_value_width_);
  const int64_t element = size_of_element(o.type);
  for (int64_t t = 0; t < tokens; ++t) {
    const int64_t slot = skipped_ + length_;
    std::byte* memory = writable_slot(slot);
    for (int64_t h = 0; h < o.kv_heads; ++h) {
      const int64_t row = h * o.block + slot % o.block;
      const float k_scale = write_row(o.type, k.data + t * k.stride(0) + h * k.stride(1), o.width,
                                      padded_width_, memory + row * padded_width_ * element);
      const float v_scale =
          write_row(o.type, v.data + t * v.stride(0) + h * v.stride(1), o.value_width, padded_value_width_,
                    memory + parts.values + row * padded_value_width_ * element);
      if (o.type == CacheType::kInt8) {
        std::memcpy(memory + parts.k_scales + row * 4, &k_scale, sizeof k_scale);
        std::memcpy(memory + parts.v_scales + row * 4, &v_scale, sizeof v_scale);
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
  const int64_t slot = skipped_ + i, index = slot / options_.block, within = slot % options_.block;
  const Parts parts(options_, padded_width_, padded_value_width_);
  const int64_t element = size_of_element(options_.type);
  const std::byte* memory = blocks_[static_cast<size_t>(index)]->memory.data();
  Run run;
  run.k = memory + within * padded_width_ * element;
  run.v = memory + parts.values + within * padded_value_width_ * element;
  if (options_.type == CacheType::kInt8) {
    run.k_scale = reinterpret_cast<const float*>(memory + parts.k_scales) + within;
    run.v_scale = reinterpret_cast<const float*>(memory + parts.v_scales) + within;
  }
  run.begin = i;
  run.end = std::min({limit, length_, i + options_.block - within});
  return run;
}

void KvCache::read(int64_t i, float* k, float* v) const {
  check_argument(i >= 0 && i < length_, "KvCache.read", "expected a token in [0, {}), got {}", length_, i);
  const Run run = run_at(i, i + 1);
  const int64_t element = size_of_element(options_.type);
  for (int64_t h = 0; h < options_.kv_heads; ++h) {
    const int64_t row = h * options_.block;
    read_row(options_.type, static_cast<const std::byte*>(run.k) + row * padded_width_ * element,
             run.k_scale == nullptr ? 1.0f : run.k_scale[row], options_.width, k + h * options_.width);
    read_row(options_.type, static_cast<const std::byte*>(run.v) + row * padded_value_width_ * element,
             run.v_scale == nullptr ? 1.0f : run.v_scale[row], options_.value_width,
             v + h * options_.value_width);
  }
}

}  // namespace fovea
