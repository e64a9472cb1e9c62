#include "fovea/nn/key_value_cache.hpp"

#include <algorithm>
#include <cstring>

#include "base/check.hpp"

namespace fovea::nn {
namespace {

constexpr int64_t kFirstCapacity = 64;

// Room for `length` tokens of [heads, width]; keeps the first `used`.
void reserve(Tensor& store, int64_t length, int64_t used, int64_t heads, int64_t width) {
  const int64_t capacity = store.defined() ? store.dim(0) : 0;
  if (length <= capacity) return;
  Tensor larger = Tensor::empty({std::max({length, 2 * capacity, kFirstCapacity}), heads, width});
  if (used > 0)
    std::memcpy(larger.raw(), store.raw(), static_cast<size_t>(used * heads * width) * sizeof(float));
  store = std::move(larger);
}

void copy_tokens(const HeadsView<const float>& from, float* to) {
  for (int64_t t = 0; t < from.dim(0); ++t) {
    for (int64_t h = 0; h < from.dim(1); ++h) {
      std::memcpy(to, from.data + t * from.stride(0) + h * from.stride(1),
                  static_cast<size_t>(from.dim(2)) * sizeof(float));
      to += from.dim(2);
    }
  }
}

HeadsView<const float> view_of(const Tensor& store, int64_t length) {
  if (!store.defined()) return {};
  return contiguous_view<const float, 3>(store.data(), {length, store.dim(1), store.dim(2)});
}

}  // namespace

int64_t KeyValueCache::nbytes() const {
  int64_t bytes = 0;
  for (const Sequence& s : sequences_) bytes += s.k.nbytes() + s.v.nbytes();
  return bytes;
}

void KeyValueCache::append(int64_t n, const HeadsView<const float>& k, const HeadsView<const float>& v) {
  check_argument(n >= 0 && n < sequences(), "key_value_cache", "expected a sequence in [0, {}), got {}",
                 sequences(), n);
  Sequence& s = sequences_[static_cast<size_t>(n)];
  const auto fits = [](const Tensor& store, const HeadsView<const float>& x) {
    return !store.defined() || (store.dim(1) == x.dim(1) && store.dim(2) == x.dim(2));
  };
  check_argument(k.dim(0) == v.dim(0) && fits(s.k, k) && fits(s.v, v), "key_value_cache",
                 "expected as many values as keys, with the heads of those before, got {} keys and {} values",
                 k.dim(0), v.dim(0));
  const int64_t length = s.length + k.dim(0);
  reserve(s.k, length, s.length, k.dim(1), k.dim(2));
  reserve(s.v, length, s.length, v.dim(1), v.dim(2));
  copy_tokens(k, s.k.data() + s.length * k.dim(1) * k.dim(2));
  copy_tokens(v, s.v.data() + s.length * v.dim(1) * v.dim(2));
  s.length = length;
}

HeadsView<const float> KeyValueCache::keys(int64_t n) const {
  const Sequence& s = sequences_[static_cast<size_t>(n)];
  return view_of(s.k, s.length);
}

HeadsView<const float> KeyValueCache::values(int64_t n) const {
  const Sequence& s = sequences_[static_cast<size_t>(n)];
  return view_of(s.v, s.length);
}

void KeyValueCache::truncate(int64_t n, int64_t length) {
  check_argument(length >= 0 && length <= this->length(n), "key_value_cache",
                 "expected a length in [0, {}], got {}", this->length(n), length);
  sequences_[static_cast<size_t>(n)].length = length;
}

void KeyValueCache::reorder(std::span<const int64_t> from) {
  std::vector<Sequence> next;
  next.reserve(from.size());
  for (const int64_t n : from) {
    check_argument(n >= 0 && n < sequences(), "key_value_cache", "expected a sequence in [0, {}), got {}",
                   sequences(), n);
    const Sequence& s = sequences_[static_cast<size_t>(n)];
    next.push_back(s.k.defined() ? Sequence{s.k.clone(), s.v.clone(), s.length} : Sequence{});
  }
  sequences_ = std::move(next);
}

std::vector<int64_t> TransformerCache::lengths() const {
  std::vector<int64_t> all(static_cast<size_t>(sequences), 0);
  if (layers.empty()) return all;
  for (int64_t n = 0; n < sequences; ++n) all[static_cast<size_t>(n)] = layers[0].length(n);
  return all;
}

}  // namespace fovea::nn
