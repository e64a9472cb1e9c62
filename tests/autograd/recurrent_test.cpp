#include "fovea/autograd/functions/recurrent.hpp"

#include <gtest/gtest.h>

#include "fovea/autograd/tape.hpp"
#include "fovea/base/error.hpp"
#include "tests/autograd/registry.hpp"
#include "tests/reference/layers.hpp"

namespace fovea::autograd {
namespace {

constexpr int64_t kIn = 3;

std::vector<int64_t> numbers(const Offsets& o) {
  return {o.values().begin(), o.values().end()};
}

// The longest sequence has 64 steps, each with sums over kIn + hidden products and about 16 roundings of its
// own.
double depth(int64_t hidden) {
  return 64.0 * static_cast<double>(kIn + hidden + 16);
}

struct Shapes {
  int64_t tokens;
  int64_t hidden;
};
std::vector<Shapes> shapes() {
  std::vector<Shapes> all;
  for (const int64_t n : awkward_sizes()) all.push_back({n, 5});
  for (const int64_t h : {1, 8, 17, 33}) all.push_back({40, h});
  return all;
}

FOVEA_GRADIENT_CASES(lstm) {
  std::vector<GradientCase> cases;
  for (const auto& [n, h] : shapes()) {
    for (const bool backwards : {false, true}) {
      const Offsets offsets = awkward_offsets(n);
      const RecurrentOptions options{.direction = backwards ? Direction::kBackward : Direction::kForward};
      cases.push_back({.label = std::to_string(n) + " tokens, hidden " + std::to_string(h) +
                                (backwards ? ", backward" : ""),
                       .inputs = {random_array({n, kIn}, 1), random_array({4 * h, kIn}, 2),
                                  random_array({4 * h, h}, 3, -.5, .5), random_array({4 * h}, 4)},
                       .op = [=](auto& in) { return lstm(in[0], in[1], in[2], in[3], offsets, options); },
                       .reference =
                           [=](const auto& in) {
                             return reference::lstm(in[0], in[1], in[2], &in[3], numbers(offsets), backwards);
                           },
                       .depth = depth(h)});
    }
  }
  return cases;
}

FOVEA_GRADIENT_CASES(gru) {
  std::vector<GradientCase> cases;
  for (const auto& [n, h] : shapes()) {
    for (const bool backwards : {false, true}) {
      const Offsets offsets = awkward_offsets(n);
      const RecurrentOptions options{.direction = backwards ? Direction::kBackward : Direction::kForward};
      cases.push_back(
          {.label =
               std::to_string(n) + " tokens, hidden " + std::to_string(h) + (backwards ? ", backward" : ""),
           .inputs = {random_array({n, kIn}, 1), random_array({3 * h, kIn}, 2),
                      random_array({3 * h, h}, 3, -.5, .5), random_array({3 * h}, 4),
                      random_array({3 * h}, 5)},
           .op = [=](auto& in) { return gru(in[0], in[1], in[2], in[3], in[4], offsets, options); },
           .reference =
               [=](const auto& in) {
                 return reference::gru(in[0], in[1], in[2], in[3], in[4], numbers(offsets), backwards);
               },
           .depth = depth(h)});
    }
  }
  return cases;
}

// Enough sequences for several groups: each gives what it gives alone.
TEST(Recurrent, GroupedSequencesEqualThemselvesAlone) {
  const int64_t h = 5;
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < 70; ++i) lengths.push_back(i * 7 % 23);
  const Offsets offsets = Offsets::from_lengths(lengths);
  const Tensor x = to_tensor(random_array({offsets.total(), kIn}, 3));
  const Tensor w = to_tensor(random_array({4 * h, kIn}, 1));
  const Tensor u = to_tensor(random_array({4 * h, h}, 2));
  const RecurrentState initial{to_tensor(random_array({70, h}, 4)), to_tensor(random_array({70, h}, 5))};
  for (const Direction direction : {Direction::kForward, Direction::kBackward}) {
    RecurrentState last;
    const Tensor y = lstm(x, w, u, {}, offsets, {direction, &initial, &last}).value();
    for (int64_t n = 0; n < 70; ++n) {
      const RecurrentState mine{initial.h.rows(n, n + 1), initial.c.rows(n, n + 1)};
      RecurrentState end;
      const Tensor alone = lstm(x.rows(offsets.begin(n), offsets.end(n)), w, u, {},
                                Offsets::single(lengths[static_cast<size_t>(n)]), {direction, &mine, &end})
                               .value();
      for (int64_t i = 0; i < alone.numel(); ++i) {
        EXPECT_NEAR(alone.data()[i], y.data()[offsets.begin(n) * h + i], 1e-6) << "sequence " << n;
      }
      for (int64_t j = 0; j < h; ++j) {
        EXPECT_NEAR(end.h.data()[j], last.h.data()[n * h + j], 1e-6);
        EXPECT_NEAR(end.c.data()[j], last.c.data()[n * h + j], 1e-6);
      }
    }
  }
}

// A state carried over a cut gives what the uncut sequences give.
TEST(Recurrent, StateContinuesWhereItStopped) {
  const int64_t h = 5;
  const Tensor w = to_tensor(random_array({4 * h, kIn}, 1));
  const Tensor u = to_tensor(random_array({4 * h, h}, 2));
  const Tensor x = to_tensor(random_array({9, kIn}, 3));
  const Tensor gw = to_tensor(random_array({3 * h, kIn}, 1));
  const Tensor gu = to_tensor(random_array({3 * h, h}, 2));
  // Sequences of 5, 0 and 4 tokens, cut into 2 + 0 + 4 and 3 + 0 + 0.
  const Offsets whole({0, 5, 5, 9});
  const Offsets first({0, 2, 2, 6});
  const Offsets second({0, 3, 3, 3});
  Tensor x1 = Tensor::empty({6, kIn});
  x1.rows(0, 2).copy_from(x.rows(0, 2));
  x1.rows(2, 6).copy_from(x.rows(5, 9));
  const auto run = [&](bool is_lstm, const Tensor& input, const Offsets& offsets,
                       const RecurrentOptions& options) {
    return is_lstm ? lstm(input, w, u, {}, offsets, options).value()
                   : gru(input, gw, gu, {}, {}, offsets, options).value();
  };
  for (const bool is_lstm : {true, false}) {
    const Tensor want = run(is_lstm, x, whole, {});
    RecurrentState state;
    (void)run(is_lstm, x1, first, {.final = &state});
    const Tensor got = run(is_lstm, x.rows(2, 5), second, {.initial = &state, .final = &state});
    for (int64_t i = 0; i < 3 * h; ++i) EXPECT_NEAR(got.data()[i], want.data()[2 * h + i], 1e-6) << i;
    for (int64_t j = 0; j < h; ++j) {
      EXPECT_NEAR(state.h.data()[j], want.data()[4 * h + j], 1e-6);  // sequence 0 ends in the second part
      EXPECT_EQ(state.h.data()[h + j], 0.0F);                        // sequence 1 is empty
      EXPECT_NEAR(state.h.data()[2 * h + j], want.data()[8 * h + j], 1e-6);  // sequence 2 ended in the first
    }
  }
}

// The gradient of the recurrent weights sees the initial state.
TEST(Recurrent, InitialStateReachesTheGradientOfU) {
  const int64_t h = 3;
  const reference::Array x = random_array({2, kIn}, 3);
  const reference::Array w = random_array({4 * h, kIn}, 1);
  reference::Array u = random_array({4 * h, h}, 2);
  const reference::Array h0 = random_array({1, h}, 4);
  const reference::Array c0 = random_array({1, h}, 5);
  const RecurrentState state{to_tensor(h0), to_tensor(c0)};
  const Var parameter = Var::parameter(to_tensor(u));
  Tape tape;
  {
    const TapeScope scope(tape);
    const Var y = lstm(to_tensor(x), to_tensor(w), parameter, {}, Offsets::single(2), {.initial = &state});
    tape.backward_from(y, Tensor::full({2, h}, 1));
  }
  const auto loss = [&] {
    double s = 0;
    for (const double v : reference::lstm(x, w, u, nullptr, {0, 2}, false, &h0, &c0).data) s += v;
    return s;
  };
  for (int64_t i = 0; i < u.size(); ++i) {
    const double keep = u.at(i);
    u.at(i) = keep + 1e-5;
    const double above = loss();
    u.at(i) = keep - 1e-5;
    const double below = loss();
    u.at(i) = keep;
    EXPECT_NEAR(parameter.grad().data()[i], (above - below) / 2e-5, 1e-5) << i;
  }
}

TEST(Recurrent, MisuseIsNamed) {
  const Tensor x = Tensor::zeros({2, 3});
  try {
    lstm(x, Tensor::zeros({8, 4}), Tensor::zeros({8, 2}), {}, Offsets::single(2));
    FAIL();
  } catch (const ArgumentError& e) {
    EXPECT_STREQ(e.what(), "[lstm] expected w of shape [8, 3], got [8, 4]");
  }
  EXPECT_THROW(lstm(x, Tensor::zeros({8, 3}), Tensor::zeros({6, 2}), {}, Offsets::single(2)), ArgumentError);
  EXPECT_THROW(gru(x, Tensor::zeros({6, 3}), Tensor::zeros({6, 2}), {}, {}, Offsets::single(3)),
               ArgumentError);
  const RecurrentState wrong{Tensor::zeros({2, 2}), {}};
  EXPECT_THROW(
      gru(x, Tensor::zeros({6, 3}), Tensor::zeros({6, 2}), {}, {}, Offsets::single(2), {.initial = &wrong}),
      ArgumentError);
}

}  // namespace
}  // namespace fovea::autograd
