// How a cache's blocks lie in memory, for those who read them.
#pragma once

#include "fovea/attention/kv_cache.hpp"
#include "kernels/attention_decode.hpp"

namespace fovea {

inline kernels::DecodeType decode_type(CacheType type) {
  switch (type) {
    case CacheType::kF32:
      return kernels::DecodeType::kF32;
    case CacheType::kBF16:
      return kernels::DecodeType::kBF16;
    case CacheType::kF16:
      return kernels::DecodeType::kF16;
    case CacheType::kInt8:
      return kernels::DecodeType::kInt8;
  }
  return kernels::DecodeType::kF32;
}

inline kernels::DecodeLayout layout_of(const KvCache& cache) {
  return kernels::decode_layout(decode_type(cache.options().type), cache.padded_width(),
                                cache.padded_value_width(), cache.options().block);
}

}  // namespace fovea
