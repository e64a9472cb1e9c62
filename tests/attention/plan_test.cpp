// Which kernel serves a call, and what the others say.
#include <gtest/gtest.h>

#include "fovea/attention/plan.hpp"
#include "fovea/base/cpu.hpp"

namespace fovea::testing {
namespace {

TEST(AttentionPlan, SaysWhyEachKernelDeclines) {
  const auto reason_of = [](const std::string& name, const AttentionShape& shape, const AttentionSpec& spec) {
    for (const PlannedKernel& kernel : attention_plan(shape, spec)) {
      if (kernel.name == name) return (kernel.serves ? "serves: " : "") + kernel.reason;
    }
    return std::string("unknown");
  };
  AttentionShape half;
  half.dtype = DType::kBF16;
  const std::string isa = to_string(current_isa());
  EXPECT_EQ(reason_of("float32", {}, {}), "serves: multiply-adds of " + isa);
  EXPECT_EQ(reason_of("float32", half, {}),
            "serves: multiply-adds of " + isa + " on inputs widened to float32");
  EXPECT_EQ(reason_of("software_bf16", half, {}), "for tests, when asked for by name");
  set_attention_kernel("software_bf16");
  EXPECT_EQ(current_attention_kernel(), "software_bf16");
  EXPECT_EQ(reason_of("software_bf16", half, {}), "serves: products of bf16 pairs, sums in float32");
  EXPECT_EQ(reason_of("software_bf16", {}, {}), "float32 inputs at strict precision");
  AttentionShape backward = half;
  backward.backward = true;
  backward.biases = true;
  EXPECT_EQ(reason_of("software_bf16", backward, {}),
            "serves: products of bf16 pairs, sums, biases and masks in float32");
  AttentionShape overridden = half;
  overridden.overrides = true;
  EXPECT_EQ(reason_of("software_bf16", overridden, {}), "overridden heads are computed in float32");
  EXPECT_EQ(reason_of("software_bf16", half, {.score = Score::kCosine}),
            "the rows that this score makes of q and k are float32");
  set_attention_kernel("");
  EXPECT_EQ(attention_plan(half).back().serves, true);
}

}  // namespace
}  // namespace fovea::testing
