// Attention over one sequence of random tokens, and a look at what it did.
#include <cstdio>
#include <fovea/fovea.hpp>

int main() {
  constexpr int64_t kTokens = 8, kHeads = 2, kWidth = 16;
  fovea::Random random(7);
  const auto draw = [&random] {
    fovea::Tensor x = fovea::Tensor::empty({kTokens, kHeads, kWidth});
    for (float& value : x.span()) value = static_cast<float>(random.normal());
    return x;
  };
  const fovea::AttentionSpec spec{.causal = true};
  const auto [out, lse, seen] =
      fovea::attention(draw(), draw(), draw(), spec, fovea::observe::entropy | fovea::observe::top_k(1));

  std::printf("fovea %s: each query's strongest key in head 0, its weight, the entropy of the row\n",
              fovea::version());
  for (int64_t i = 0; i < kTokens; ++i) {
    std::printf("%2d -> %2d  %.3f  %.3f nats\n", static_cast<int>(i),
                static_cast<int>(seen.top_k_keys.span<int64_t>()[static_cast<size_t>(i * kHeads)]),
                static_cast<double>(seen.top_k_weights.span()[static_cast<size_t>(i * kHeads)]),
                static_cast<double>(seen.entropy.span()[static_cast<size_t>(i * kHeads)]));
  }
  return 0;
}
