// Products while signals are handled: nothing may lie below the stack pointer, where a handler writes.
#include "fovea/kernels/convert.hpp"
#include "fovea/kernels/matmul.hpp"
#include "kernels/held_signals.hpp"
#include "tests/kernels/kernel_test.hpp"
#include "tests/support/signal_storm.hpp"

namespace fovea::kernels {
namespace {

constexpr int kSignals = 500;

struct Product {
  Matmul spec;
  std::vector<float> a, b, bias;
};

// Every class of shapes: few and many rows, whole tiles and tails, one stretch of terms and several, all
// transposes, with and without what C held.
std::vector<Product> products() {
  std::vector<Product> out;
  uint64_t seed = 0;
  for (const int64_t m : {1, 3, 17, 70, 300}) {
    for (const int64_t n : {1, 31, 128, 333}) {
      for (const int64_t k : {9, 128, 600}) {
        for (int kind = 0; kind < 4; ++kind) {
          Product p;
          p.spec = {.m = m, .n = n, .k = k, .transpose_a = kind % 2 == 1, .transpose_b = kind >= 2};
          p.a = normals(m * k, ++seed);
          p.b = normals(k * n, ++seed);
          p.bias = normals(n, ++seed);
          out.push_back(std::move(p));
          if (seed % 2 == 0) out.back().spec.bias = out.back().bias.data();
        }
      }
    }
  }
  return out;
}

std::vector<float> in_float(const Product& p) {
  std::vector<float> c(static_cast<size_t>(p.spec.m * p.spec.n));
  matmul(p.spec, p.a.data(), p.b.data(), c.data());
  return c;
}

std::vector<float> in_bf16(const Product& p) {
  std::vector<BFloat16> a(p.a.size()), b(p.b.size());
  to_bf16(static_cast<int64_t>(a.size()), p.a.data(), a.data());
  to_bf16(static_cast<int64_t>(b.size()), p.b.data(), b.data());
  std::vector<float> c(static_cast<size_t>(p.spec.m * p.spec.n));
  matmul_bf16(p.spec, a.data(), b.data(), c.data());
  return c;
}

void expect_undisturbed(std::vector<float> (*compute)(const Product&)) {
  const std::vector<Product> all = products();
  on_every_isa([&](const std::string& isa) {
    std::vector<std::vector<float>> want;
    want.reserve(all.size());
    for (const Product& p : all) want.push_back(compute(p));
    const fovea::testing::SignalStorm storm;
    for (int rounds = 0; rounds < 2 || storm.delivered() < kSignals; ++rounds) {
      for (size_t i = 0; i < all.size(); ++i) {
        const Matmul& s = all[i].spec;
        expect_same_bits(want[i], compute(all[i]),
                         isa + ", product " + std::to_string(s.m) + " x " + std::to_string(s.n) + " x " +
                             std::to_string(s.k) + (s.transpose_a ? " At" : "") +
                             (s.transpose_b ? " Bt" : ""));
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
    EXPECT_GE(storm.delivered(), kSignals);
  });
}

TEST(SignalsDuringProducts, LeaveFloat32AsItIs) {
  expect_undisturbed(in_float);
}

TEST(SignalsDuringProducts, LeaveBf16AsItIs) {
  expect_undisturbed(in_bf16);
}

// What oneDNN's bf16 products run under, on processors that have them.
TEST(HeldSignals, WaitUntilTheEndAndLetThroughWhatAnInstructionRaises) {
  static volatile sig_atomic_t seen;
  seen = 0;
  struct sigaction action {
  }, before{};
  action.sa_handler = [](int) { seen = seen + 1; };
  sigaction(SIGUSR1, &action, &before);
  sigset_t old, during, after;
  pthread_sigmask(SIG_BLOCK, nullptr, &old);
  {
    const HeldSignals held;
    pthread_sigmask(SIG_BLOCK, nullptr, &during);
    pthread_kill(pthread_self(), SIGUSR1);
    EXPECT_EQ(seen, 0);
    for (const int raised : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) {
      EXPECT_EQ(sigismember(&during, raised), sigismember(&old, raised)) << raised;
    }
    for (const int held_back : {SIGINT, SIGTERM, SIGALRM, SIGPROF}) {
      EXPECT_EQ(sigismember(&during, held_back), 1) << held_back;
    }
  }
  EXPECT_EQ(seen, 1);
  pthread_sigmask(SIG_BLOCK, nullptr, &after);
  EXPECT_EQ(sigismember(&after, SIGALRM), sigismember(&old, SIGALRM));
  sigaction(SIGUSR1, &before, nullptr);
}

}  // namespace
}  // namespace fovea::kernels
