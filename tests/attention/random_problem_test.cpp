// Random combinations of every option.
#include <cmath>

#include "tests/attention/problem.hpp"

namespace fovea::testing {
namespace {

constexpr int64_t kSizes[] = {0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 200};
constexpr int64_t kWidths[] = {1, 8, 16, 24, 32, 33, 64, 80, 128};

template <size_t N>
int64_t pick(Random& random, const int64_t (&from)[N]) {
  return from[random.below(N)];
}

std::vector<bool> random_axes(Random& random) {
  std::vector<bool> axes;
  for (int axis = 0; axis < 4; ++axis) axes.push_back(random.below(2) == 0);
  return axes;
}

void add_masks(Random& random, Problem& p) {
  if (random.below(4) == 0) {
    p.scales = true;
    p.spec.scale.reset();
  }
  p.distances = random.below(2) == 0;
  if (!p.sinks && random.below(4) == 0) p.spec.normalizer = Normalizer::kSoftmaxOne;
  if (random.below(2) == 0) p.bias = random_axes(random);
  p.hiding_bias = random.below(2) == 0;
  if (random.below(3) == 0) p.mask = random_axes(random);
  p.keys_outer = random.below(4) == 0;
  if (random.below(3) == 0)
    p.blocks = random.below(2) == 0 ? Problem::Blocks::kPerSequence : Problem::Blocks::kPerHead;
  if (!p.interleaved && random.below(3) == 0) {  // [B, H, L, D], every sequence as long as the first
    p.batched = true;
    for (size_t n = 1; n < p.q_lengths.size(); ++n) {
      p.q_lengths[n] = p.q_lengths[0];
      p.k_lengths[n] = p.k_lengths[0];
    }
    if (p.blocks != Problem::Blocks::kNone && random.below(2) == 0) p.blocks = Problem::Blocks::kOne;
  }
}

}  // namespace

Problem random_problem(int number) {
  Random random(static_cast<uint64_t>(5000 + number));
  Problem p;
  p.seed = static_cast<uint64_t>(7000 + number);
  p.interleaved = random.below(2) == 0;
  for (uint64_t n = random.below(4); n-- > 0;) {
    p.q_lengths.push_back(pick(random, kSizes) / 2);
    p.k_lengths.push_back(p.interleaved ? p.q_lengths.back() : pick(random, kSizes) / 2);
  }
  p.kv_heads = 1 + static_cast<int64_t>(random.below(2));
  p.heads = p.kv_heads * (1 + static_cast<int64_t>(random.below(3)));
  p.d = pick(random, kWidths);
  p.dv = random.below(2) == 0 ? p.d : pick(random, kWidths);
  p.spec.score = kScoreNames[random.below(std::size(kScoreNames))].score;
  if (p.spec.score == Score::kNegSquaredL2 || p.spec.score == Score::kNegSquaredLorentz)
    p.spec.scale = 0.5f / std::sqrt(static_cast<float>(p.d));
  if (p.spec.score == Score::kDot) p.spec.scale = 0.3f / std::sqrt(static_cast<float>(p.d));
  if (p.spec.score == Score::kCosine) {
    p.spec.scale = 4.0f;
    if (p.d == 1) p.d = 8;  // the cosine of numbers is a sign: its gradient is rounding noise
  }
  p.spec.causal = random.below(2) == 0;
  if (random.below(3) == 0) p.spec.window_left = static_cast<int64_t>(random.below(60));
  if (random.below(3) == 0) p.spec.window_right = static_cast<int64_t>(random.below(60));
  if (random.below(4) == 0) p.spec.softcap = 2.0f;
  if (random.below(4) == 0) {
    p.spec.dropout = random.below(2) == 0 ? 0.1f : 0.5f;
    p.spec.dropout_key = {random.next_u64(), random.next_u64()};
  }
  p.alibi = random.below(4) == 0;
  p.relative = random.below(4) == 0;
  p.bidirectional = random.below(2) == 0;
  p.sinks = random.below(4) == 0;
  add_masks(random, p);
  p.lse_gradient = random.below(3) == 0;
  return p;
}

}  // namespace fovea::testing
