#include "fovea/tensor/tensor.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "base/check.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea {

// Lives at the head of its own block; the elements follow after one cache line.
struct Tensor::Storage {
  std::atomic<int64_t> references{1};
  size_t bytes = 0;

  static Storage* make(size_t element_bytes) {
    const size_t bytes = kAlignment + element_bytes;
    auto* s = new (pool_allocate(bytes)) Storage;
    s->bytes = bytes;
    return s;
  }
  void* elements() { return reinterpret_cast<char*>(this) + kAlignment; }
};

namespace {

constexpr int64_t kGrain = 1 << 16;  // elements copied or filled by one thread at the least

template <class F>
decltype(auto) with_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kF32:
      return f(float{});
    case DType::kF64:
      return f(double{});
    case DType::kBF16:
      return f(BFloat16{});
    case DType::kF16:
      return f(Float16{});
    case DType::kI32:
      return f(int32_t{});
    case DType::kI64:
      return f(int64_t{});
    case DType::kBool:
      return f(bool{});
  }
  throw_argument("Tensor", "unknown dtype {}", static_cast<int>(dtype));
}

template <class To, class From>
To convert(From value) {
  if constexpr (std::is_same_v<From, BFloat16> || std::is_same_v<From, Float16>) {
    return convert<To>(static_cast<float>(value));
  } else if constexpr (std::is_same_v<To, BFloat16> || std::is_same_v<To, Float16>) {
    return To(static_cast<float>(value));
  } else if constexpr (std::is_same_v<To, bool>) {
    return value != From{};
  } else {
    return static_cast<To>(value);
  }
}

}  // namespace

Tensor::Tensor(const Tensor& other) noexcept
    : storage_(other.storage_), base_(other.base_), shape_(other.shape_), dtype_(other.dtype_) {
  if (storage_ != nullptr) storage_->references.fetch_add(1, std::memory_order_relaxed);
}

Tensor::~Tensor() {
  if (storage_ == nullptr || storage_->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  const size_t bytes = storage_->bytes;
  storage_->~Storage();
  pool_free(storage_, bytes);
}

bool Tensor::unique() const {
  return storage_ != nullptr && storage_->references.load(std::memory_order_acquire) == 1;
}

void Tensor::check_dtype(DType wanted) const {
  check_argument(defined(), "Tensor.data", "expected a defined tensor, got an undefined one");
  check_argument(dtype_ == wanted, "Tensor.data", "expected dtype {}, got {}", to_string(wanted),
                 to_string(dtype_));
}

Tensor Tensor::empty(const Shape& shape, DType dtype) {
  Tensor t;
  t.shape_ = shape;
  t.dtype_ = dtype;
  t.storage_ = Storage::make(static_cast<size_t>(shape.numel()) * size_of(dtype));
  t.base_ = t.storage_->elements();
  return t;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype) {
  Tensor t = empty(shape, dtype);
  std::memset(t.raw(), 0, static_cast<size_t>(t.nbytes()));
  return t;
}

Tensor Tensor::full(const Shape& shape, double value, DType dtype) {
  Tensor t = empty(shape, dtype);
  t.fill(value);
  return t;
}

template <class T>
Tensor Tensor::from(std::span<const T> values, const Shape& shape) {
  check_argument(static_cast<int64_t>(values.size()) == shape.numel(), "Tensor.from",
                 "expected {} values for shape {}, got {}", shape.numel(), to_string(shape), values.size());
  Tensor t = empty(shape, dtype_of<T>);
  std::copy(values.begin(), values.end(), t.data<T>());
  return t;
}
template Tensor Tensor::from<float>(std::span<const float>, const Shape&);
template Tensor Tensor::from<double>(std::span<const double>, const Shape&);
template Tensor Tensor::from<int32_t>(std::span<const int32_t>, const Shape&);
template Tensor Tensor::from<int64_t>(std::span<const int64_t>, const Shape&);
template Tensor Tensor::from<BFloat16>(std::span<const BFloat16>, const Shape&);
template Tensor Tensor::from<Float16>(std::span<const Float16>, const Shape&);
template Tensor Tensor::from<bool>(std::span<const bool>, const Shape&);

Tensor Tensor::reshape(const Shape& shape) const {
  check_argument(defined() && shape.numel() == numel(), "Tensor.reshape",
                 "expected a shape of {} elements, got {}", numel(), to_string(shape));
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::rows(int64_t begin, int64_t end) const {
  check_argument(defined() && rank() >= 1, "Tensor.rows", "expected a tensor of rank >= 1");
  check_argument(0 <= begin && begin <= end && end <= dim(0), "Tensor.rows",
                 "expected 0 <= begin <= end <= {}, got [{}, {})", dim(0), begin, end);
  std::array<int64_t, Shape::kMaxRank> dims{};
  std::copy(shape_.dims().begin(), shape_.dims().end(), dims.begin());
  dims[0] = end - begin;
  Tensor t = *this;
  t.shape_ = Shape(std::span<const int64_t>(dims.data(), static_cast<size_t>(rank())));
  const size_t row_bytes = dim(0) == 0 ? 0 : static_cast<size_t>(nbytes() / dim(0));
  t.base_ = static_cast<char*>(base_) + static_cast<size_t>(begin) * row_bytes;
  return t;
}

Tensor Tensor::clone() const {
  if (!defined()) return {};
  Tensor t = empty(shape_, dtype_);
  t.copy_from(*this);
  return t;
}

Tensor Tensor::to(DType dtype) const {
  if (!defined() || dtype == dtype_) return *this;
  Tensor t = empty(shape_, dtype);
  with_type(dtype_, [&]<class From>(From) {
    with_type(dtype, [&]<class To>(To) {
      const From* in = data<From>();
      To* out = t.data<To>();
      parallel_for(numel(), kGrain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) out[i] = convert<To>(in[i]);
      });
    });
  });
  return t;
}

void Tensor::fill(double value) {
  with_type(dtype_, [&]<class T>(T) {
    T* out = data<T>();
    const T element = convert<T>(value);
    parallel_for(numel(), kGrain,
                 [&](int64_t begin, int64_t end) { std::fill(out + begin, out + end, element); });
  });
}

void Tensor::copy_from(const Tensor& source) {
  check_argument(defined() && source.defined() && shape_ == source.shape_ && dtype_ == source.dtype_,
                 "Tensor.copy_from", "expected a source of shape {} and dtype {}, got {} {}",
                 to_string(shape_), to_string(dtype_), to_string(source.shape_), to_string(source.dtype_));
  auto* to = static_cast<char*>(raw());
  const auto* from = static_cast<const char*>(source.raw());
  parallel_for(nbytes(), kGrain * 4, [&](int64_t begin, int64_t end) {
    std::memcpy(to + begin, from + begin, static_cast<size_t>(end - begin));
  });
}

}  // namespace fovea
