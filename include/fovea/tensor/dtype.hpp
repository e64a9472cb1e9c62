// Element types. bf16 and f16 are storage types: arithmetic happens in float32.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace fovea {

// What the elements of a tensor are: floats of 32, 64 and 16 bits (bfloat16, binary16), signed integers, and
// bools of a byte each.
enum class DType : uint8_t { kF32, kF64, kBF16, kF16, kI32, kI64, kBool };

// The upper half of a float32. Conversion rounds to nearest, ties to even; NaN stays NaN.
struct BFloat16 {
  uint16_t bits = 0;  // sign, 8 bits of exponent, 7 of fraction
  BFloat16() = default;

  // Rounded to the nearest of 8 significant bits; beyond the largest, ∞.
  explicit BFloat16(float value) {
    const auto u = std::bit_cast<uint32_t>(value);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u) {
      bits = static_cast<uint16_t>(u >> 16 | 0x40u);
    } else {
      bits = static_cast<uint16_t>((u + 0x7FFFu + (u >> 16 & 1u)) >> 16);
    }
  }
  explicit operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

// IEEE 754 binary16. Conversion rounds to nearest, ties to even; overflow gives infinity.
struct Float16 {
  uint16_t bits = 0;  // sign, 5 bits of exponent, 10 of fraction
  Float16() = default;

  // Rounded to the nearest of 11 significant bits, subnormal below 2^-14; 65,520 and beyond become ∞.
  explicit Float16(float value);
  explicit operator float() const;
};

// Bytes of one element.
constexpr size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kF64:
    case DType::kI64:
      return 8;
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kBF16:
    case DType::kF16:
      return 2;
    case DType::kBool:
      return 1;
  }
  return 0;
}

// NumPy's name: "float32", "bfloat16", "int64", "bool", …
const char* to_string(DType dtype);

// The dtype whose elements are of C++ type T; without a definition for types that no tensor holds.
template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::kF32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::kF64;
};
template <>
struct DTypeOf<BFloat16> {
  static constexpr DType value = DType::kBF16;
};
template <>
struct DTypeOf<Float16> {
  static constexpr DType value = DType::kF16;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::kI32;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::kI64;
};
template <>
struct DTypeOf<bool> {
  static constexpr DType value = DType::kBool;
};
// dtype_of<float> is kF32, and so on; it does not compile for types that no tensor holds.
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

}  // namespace fovea
