#include "fovea/tensor/tensor.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "fovea/base/error.hpp"
#include "fovea/tensor/ragged.hpp"
#include "fovea/tensor/view.hpp"

namespace fovea {
namespace {

TEST(Shape, ReportsItselfAndRejectsNonsense) {
  EXPECT_EQ(to_string(Shape{2, 3}), "[2, 3]");
  EXPECT_EQ((Shape{2, 3, 4}).numel(), 24);
  EXPECT_EQ((Shape{2, 3, 4}).dim(-1), 4);
  EXPECT_EQ(Shape{}.numel(), 1);
  EXPECT_THROW((Shape{2, -1}), ArgumentError);
  EXPECT_THROW((Shape{int64_t{1} << 40, int64_t{1} << 40}), ArgumentError);
  EXPECT_THROW((Shape{1, 1, 1, 1, 1, 1, 1}), ArgumentError);
  EXPECT_THROW((Shape{2}).dim(1), ArgumentError);
}

TEST(Tensor, CopiesShareAndClonesDoNot) {
  Tensor a = Tensor::zeros({2, 3});
  Tensor b = a;
  Tensor c = a.clone();
  b.data()[0] = 5;
  EXPECT_EQ(a.data()[0], 5);
  EXPECT_EQ(c.data()[0], 0);
  EXPECT_FALSE(a.unique());
  EXPECT_TRUE(c.unique());
}

TEST(Tensor, RowsAndReshapeShareMemory) {
  Tensor a = Tensor::from<float>({1, 2, 3, 4, 5, 6}, {3, 2});
  EXPECT_EQ(a.rows(1, 3).data()[0], 3);
  EXPECT_EQ(a.rows(1, 1).numel(), 0);
  EXPECT_EQ(a.reshape({2, 3}).dim(1), 3);
  EXPECT_THROW(a.rows(2, 4), ArgumentError);
  EXPECT_THROW(a.reshape({4}), ArgumentError);
}

TEST(Tensor, WrongDtypeIsNamed) {
  const Tensor a = Tensor::zeros({1});
  try {
    a.data<double>();
    FAIL();
  } catch (const ArgumentError& e) {
    EXPECT_STREQ(e.what(), "[Tensor.data] expected dtype float64, got float32");
  }
}

TEST(Tensor, ConvertsBetweenAllTypes) {
  const Tensor a = Tensor::from<float>({0.0f, 1.0f, -2.0f, 100.0f}, {4});
  for (const DType t : {DType::kF64, DType::kBF16, DType::kF16, DType::kI32, DType::kI64}) {
    const Tensor back = a.to(t).to(DType::kF32);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(back.data()[i], a.data()[i]) << to_string(t);
  }
  EXPECT_EQ(a.to(DType::kBool).to(DType::kF32).data()[3], 1.0f);
}

TEST(Float16, EveryValueSurvivesARoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    Float16 h;
    h.bits = static_cast<uint16_t>(bits);
    const auto f = static_cast<float>(h);
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(static_cast<float>(Float16(f))));
    } else {
      EXPECT_EQ(Float16(f).bits, h.bits);
    }
  }
  EXPECT_EQ(Float16(1.0f + 0x1p-11f).bits, Float16(1.0f).bits);  // a tie goes to the even neighbour
  EXPECT_EQ(Float16(65520.0f).bits, 0x7C00);                     // rounds up to infinity
  EXPECT_EQ(Float16(65519.0f).bits, 0x7BFF);
}

TEST(BFloat16, RoundsToNearestEvenAndKeepsNan) {
  EXPECT_EQ(BFloat16(1.0f + 0x1p-8f).bits, BFloat16(1.0f).bits);
  EXPECT_EQ(static_cast<float>(BFloat16(1.0f + 0x1.8p-7f)), 1.0f + 0x1p-6f);
  EXPECT_TRUE(std::isnan(static_cast<float>(BFloat16(std::numeric_limits<float>::quiet_NaN()))));
}

TEST(Offsets, ChecksAndCounts) {
  const Offsets o({0, 3, 3, 7});
  EXPECT_EQ(o.count(), 3);
  EXPECT_EQ(o.total(), 7);
  EXPECT_EQ(o.length(1), 0);
  EXPECT_EQ(o.max_length(), 4);
  EXPECT_EQ(Offsets().count(), 0);
  EXPECT_THROW(Offsets({1, 2}), ArgumentError);
  EXPECT_THROW(Offsets({0, 3, 2}), ArgumentError);
  EXPECT_EQ(Offsets::uniform(2, 4), Offsets({0, 4, 8}));
}

}  // namespace
}  // namespace fovea
