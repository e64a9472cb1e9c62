// 16-bit calls: widened ones equal the float32 call to the bit, and bad ones say what is wrong.
#include <gtest/gtest.h>

#include "fovea/attention/plan.hpp"
#include "fovea/base/cpu.hpp"
#include "fovea/base/error.hpp"
#include "tests/attention/half_problem.hpp"
#include "tests/support/expect_error.hpp"

namespace fovea::testing {
namespace {

// Options of every kind, small and ragged.
std::vector<Problem> problems() {
  std::vector<Problem> all;
  const auto add = [&all](auto&& change) {
    Problem p;
    p.q_lengths = {33, 0, 7, 65};
    p.k_lengths = {40, 3, 0, 65};
    p.heads = 4;
    p.kv_heads = 2;
    p.d = 20;
    p.dv = 12;
    change(p);
    p.seed = 100 + all.size();
    all.push_back(p);
  };
  add([](Problem&) {});
  add([](Problem& p) { p.spec.causal = true; });
  add([](Problem& p) { p.spec.window_left = 9, p.spec.window_right = 3; });
  add([](Problem& p) { p.alibi = p.relative = p.sinks = true; });
  add([](Problem& p) { p.spec.softcap = 2.0f, p.spec.causal = true; });
  add([](Problem& p) { p.spec.dropout = 0.2f, p.spec.dropout_key = RandomKey{7, 9}; });
  add([](Problem& p) { p.spec.score = Score::kCosine, p.spec.scale = 5.0f; });
  add([](Problem& p) { p.k_lengths = p.q_lengths, p.interleaved = true; });
  return all;
}

template <class T>
void expect_rounded_float32() {
  for (const Problem& problem : problems()) {
    const HalfArrays<T> a = make_half<T>(problem);
    const Results half = run_half(a);
    // The float32 backward must read the out that the 16-bit one reads: the rounded one.
    Arrays wide = a.wide;
    Results want = run_engine(wide, false);
    expect_same_bits(half.lse, want.lse, "lse of " + problem.describe());
    expect_same_bits(half.out, want.out.to(dtype_of<T>), "out of " + problem.describe());
    const Tensor out = half.out.to(DType::kF32);
    const auto view = [](Tensor& x) {
      return contiguous_view<float, 3>(x.data(), {x.dim(0), x.dim(1), x.dim(2)});
    };
    want.dq = Tensor::empty(half.dq.shape());
    want.dk = Tensor::empty(half.dk.shape());
    want.dv = Tensor::empty(half.dv.shape());
    AttentionGradients g;
    g.dq = view(want.dq);
    g.dk = view(want.dk);
    g.dv = view(want.dv);
    want.dsinks = Tensor::zeros({problem.heads});
    want.dslopes = Tensor::zeros({problem.heads});
    want.dtable = Tensor::zeros({16, problem.heads});
    if (problem.alibi) g.dslopes = want.dslopes.data();
    if (problem.relative) g.dtable = want.dtable.data();
    if (problem.sinks) g.dsinks = want.dsinks.data();
    attention_backward(wide.inputs, problem.spec,
                       contiguous_view<const float, 3>(out.data(), {out.dim(0), out.dim(1), out.dim(2)}),
                       half.saved(), wide.dout_view, g);
    expect_same_bits(half.dq, want.dq.to(dtype_of<T>), "dq of " + problem.describe());
    expect_same_bits(half.dk, want.dk.to(dtype_of<T>), "dk of " + problem.describe());
    expect_same_bits(half.dv, want.dv.to(dtype_of<T>), "dv of " + problem.describe());
    expect_same_bits(half.dslopes, want.dslopes, "dslopes of " + problem.describe());
    expect_same_bits(half.dtable, want.dtable, "dtable of " + problem.describe());
    expect_same_bits(half.dsinks, want.dsinks, "dsinks of " + problem.describe());
  }
}

TEST(HalfAttention, WidenedEqualsFloat32ToTheBit) {
  const Isa before = current_isa();
  set_attention_kernel("float32");
  for (const Isa isa : available_isas()) {
    set_isa(isa);
    expect_rounded_float32<Float16>();
    expect_rounded_float32<BFloat16>();
  }
  set_isa(before);
  set_attention_kernel("");
}

TEST(HalfAttention, TensorsOfSixteenBitsGiveSixteenBits) {
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    const Tensor q = Tensor::zeros({2, 1, 4}, dtype);
    const Tensor v = Tensor::from<float>({1, 2, 3, 4, 5, 6}, {3, 1, 2}).to(dtype);
    const AttentionResult r = attention(q, Tensor::zeros({3, 1, 4}, dtype), v, {}, observe::max);
    EXPECT_EQ(r.out.dtype(), dtype);
    EXPECT_NEAR(r.out.to(DType::kF32).data()[0], 3.0f, 3.0f * 0x1p-8f);
    EXPECT_NEAR(r.out.to(DType::kF32).data()[3], 4.0f, 4.0f * 0x1p-8f);
    // bf16 kernels take exponentials within 3e-6.
    EXPECT_NEAR(r.lse.data()[0], std::log(3.0f), 4e-6f);
    EXPECT_NEAR(r.seen.max_weight.data()[0], 1.0f / 3.0f, 2e-6f);
  }
}

TEST(HalfAttention, RowsAreThoseOfTheWidenedInputs) {
  Problem p;
  p.q_lengths = {9, 5};
  p.k_lengths = {9, 6};
  const HalfArrays<BFloat16> a = make_half<BFloat16>(p);
  const Results r = run_half(a, false);
  const std::vector<int64_t> queries{0, 8, 11};
  const Ragged half = attention_rows(a.inputs, p.spec, queries);
  const Ragged wide = attention_rows(a.wide.inputs, p.spec, queries);
  expect_same_bits(half.tokens, wide.tokens, "rows");
}

TEST(HalfAttention, NamesWhatIsWrong) {
  const Tensor a = Tensor::zeros({4, 2, 8}, DType::kBF16), b = Tensor::zeros({4, 2, 4}, DType::kBF16);
  EXPECT_ERROR(attention(a, Tensor::zeros({4, 2, 8}), a), ArgumentError,
               "[attention] expected k as bfloat16 [T, heads, width], as q is, got float32 [4, 2, 8]");
  EXPECT_ERROR(attention(a, a, Tensor()), ArgumentError,
               "[attention] expected v as bfloat16 [T, heads, width], as q is, got nothing ");
  EXPECT_ERROR(attention(a, b, b), ArgumentError,
               "[attention_forward] expected q and k of equal width, got 8 and 4");
  HalfAttentionInputs<BFloat16> in;
  in.q = in.k = in.v = contiguous_view<const BFloat16, 3>(a.data<BFloat16>(), {4, 2, 8});
  in.rest.q_offsets = in.rest.k_offsets = Offsets::single(4);
  Tensor out = Tensor::zeros({4, 2, 4}, DType::kBF16);
  EXPECT_ERROR(attention_forward(in, {}, half_view<BFloat16>(out), nullptr), ArgumentError,
               "[attention_forward] expected out [4, 2, 8] with an innermost stride of 1, got [4, 2, 4]");
  EXPECT_ERROR(
      attention_backward<BFloat16>(in, {}, in.q, nullptr, in.q, {}), ArgumentError,
      "[attention_backward] expected the softmax rows or the lse that attention_forward wrote, got none");
}

}  // namespace
}  // namespace fovea::testing
