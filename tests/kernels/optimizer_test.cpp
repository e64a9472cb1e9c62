#include "fovea/kernels/optimizer.hpp"

#include "tests/kernels/kernel_test.hpp"

namespace fovea::kernels {
namespace {

struct State {
  std::vector<float> p, g, m, v, average;
  OptimizerTensor tensor() {
    return {
        static_cast<int64_t>(p.size()), p.data(), g.data(), m.data(), v.data(), average.data(), 0.1f, 0.5f};
  }
};

State make(int64_t n) {
  return {normals(n, 1), normals(n, 2), std::vector<float>(static_cast<size_t>(n)),
          std::vector<float>(static_cast<size_t>(n)), normals(n, 1)};
}

TEST(AdamStep, FollowsTheDefinitionForSeveralSteps) {
  on_every_isa([](const std::string& isa) {
    for (const bool decoupled : {false, true}) {
      for (const int64_t n : kSizes) {
        State s = make(n);
        auto p = widen(s.p), m = widen(s.m), v = widen(s.v), average = widen(s.average);
        for (int64_t step = 1; step <= 4; ++step) {
          const OptimizerTensor t = s.tensor();
          adam_step({.learning_rate = 0.01f,
                     .step = step,
                     .decoupled = decoupled,
                     .grad_scale = 0.5f,
                     .average_decay = 0.9f},
                    {&t, 1});
          for (size_t i = 0; i < p.size(); ++i) {
            const double lr = 0.005;
            const double g = 0.5 * static_cast<double>(s.g[i]) + (decoupled ? 0.0 : 0.1 * p[i]);
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.999 * v[i] + 0.001 * g * g;
            if (decoupled) p[i] *= 1.0 - lr * 0.1;
            p[i] -= lr * (m[i] / (1.0 - std::pow(0.9, static_cast<double>(step)))) /
                    (std::sqrt(v[i] / (1.0 - std::pow(0.999, static_cast<double>(step)))) + 1e-8);
            average[i] = 0.9 * average[i] + 0.1 * p[i];
          }
        }
        // 0.999f differs from 0.999 by 1.3e-8, of which 1 - β2 keeps 1.3e-5; v's root halves it. Steps are
        // 0.005.
        expect_close(s.p, p, 1e-6, 1e-6, isa);
        expect_close(s.m, m, 2e-6, 1e-6, isa);
        expect_close(s.v, v, 5e-5, 1e-9, isa);
        expect_close(s.average, average, 2e-6, 2e-6, isa);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  });
}

TEST(SgdStep, FollowsTheDefinition) {
  on_every_isa([](const std::string& isa) {
    for (const int options : {0, 1, 2}) {  // plain, momentum, Nesterov
      for (const int64_t n : kSizes) {
        State s = make(n);
        auto p = widen(s.p), m = widen(s.m);
        const double momentum = options == 0 ? 0.0 : 0.9;
        for (int step = 0; step < 3; ++step) {
          OptimizerTensor t = s.tensor();
          t.average = nullptr;
          if (options == 0) t.m = nullptr;
          sgd_step(
              {.learning_rate = 0.1f, .momentum = static_cast<float>(momentum), .nesterov = options == 2},
              {&t, 1});
          for (size_t i = 0; i < p.size(); ++i) {
            const double g = static_cast<double>(s.g[i]) + 0.1 * p[i];
            m[i] = momentum * m[i] + g;
            p[i] -= 0.05 * (options == 2 ? g + momentum * m[i] : m[i]);
          }
        }
        expect_close(s.p, p, 1e-6, 1e-6, isa);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  });
}

TEST(Optimizer, ManyTensorsStepAsOneAndWithTheSameBits) {
  on_every_isa([](const std::string& isa) {
    expect_thread_independent(
        [&] {
          std::vector<State> states;
          for (const int64_t n : {5, 0, 70000, 1, 4096, 4097}) states.push_back(make(n));
          std::vector<OptimizerTensor> tensors;
          for (State& s : states) tensors.push_back(s.tensor());
          adam_step({}, tensors);
          std::vector<float> out;
          for (const State& s : states) {
            out.insert(out.end(), s.p.begin(), s.p.end());
            State alone = make(static_cast<int64_t>(s.p.size()));
            const OptimizerTensor t = alone.tensor();
            adam_step({}, {&t, 1});
            expect_same_bits(s.p, alone.p, isa);
          }
          const double norm = grad_squared_norm(tensors);
          double want = 0.0;
          for (const State& s : states) {
            for (const float g : s.g) want += static_cast<double>(g) * static_cast<double>(g);
          }
          EXPECT_NEAR(norm, want, want * 1e-6);
          out.push_back(static_cast<float>(norm));
          return out;
        },
        isa);
  });
}

}  // namespace
}  // namespace fovea::kernels
