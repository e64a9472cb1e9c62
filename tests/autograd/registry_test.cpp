#include "tests/autograd/registry.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <regex>
#include <set>

#include "fovea/autograd/functions/arithmetic.hpp"
#include "fovea/autograd/tape.hpp"
#include "fovea/base/cpu.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea::autograd {

std::vector<Operation>& operations() {
  static std::vector<Operation> all;
  return all;
}

Array random_array(std::vector<int64_t> dims, uint64_t seed, double low, double high) {
  Array a = reference::zeros(std::move(dims));
  std::mt19937_64 random(seed * 7919 + a.data.size());
  std::uniform_real_distribution<double> uniform(low, high);
  for (double& v : a.data) v = static_cast<double>(static_cast<float>(uniform(random)));
  return a;
}

std::vector<int64_t> random_ids(int64_t n, int64_t low, int64_t high, uint64_t seed) {
  std::mt19937_64 random(seed * 7919 + static_cast<uint64_t>(n));
  std::uniform_int_distribution<int64_t> uniform(low, high - 1);
  std::vector<int64_t> ids(static_cast<size_t>(n));
  for (int64_t& id : ids) id = uniform(random);
  return ids;
}

Tensor to_tensor(const Array& a) {
  Tensor t = Tensor::empty(Shape(std::span<const int64_t>(a.dims)));
  for (int64_t i = 0; i < t.numel(); ++i) t.data()[i] = static_cast<float>(a.at(i));
  return t;
}

Tensor to_tensor(const std::vector<int64_t>& ids, DType dtype) {
  const Tensor t = Tensor::from(std::span<const int64_t>(ids), {static_cast<int64_t>(ids.size())});
  return t.to(dtype);
}

Offsets awkward_offsets(int64_t n) {
  static constexpr int64_t kLengths[] = {3, 0, 1, 17, 8, 0, 5, 64};
  std::vector<int64_t> ends{0, 0};  // begins with an empty sequence
  for (size_t i = 0; ends.back() < n; ++i) ends.push_back(std::min(n, ends.back() + kLengths[i % 8]));
  return Offsets(std::move(ends));
}

namespace {

constexpr double kUnit = 0x1p-24;  // half an ulp of 1 in float32
constexpr double kStep = 1e-5;     // of the central differences: truncation and rounding both near 1e-10

double largest(const std::vector<double>& v) {
  double m = 0;
  for (const double x : v) m = std::max(m, std::fabs(x));
  return m;
}

std::vector<double> to_doubles(const Tensor& t) {
  return {t.span().begin(), t.span().end()};
}

struct Outcome {
  Tensor y;
  std::vector<Tensor> grads;
};

enum class Inputs { kLeaves, kInterior, kOccupied };

// Runs the operation and its backward. kInterior gives it results of another operation that nobody else holds
// (so it may reuse them, and the gradients it gives are adopted); kOccupied also puts ½ into their gradients
// beforehand.
Outcome run(const GradientCase& c, const Array& dy, Inputs kind) {
  Outcome o;
  std::vector<Var> leaves;
  for (const Array& a : c.inputs) leaves.push_back(Var::parameter(to_tensor(a)));
  Tape tape;
  {
    const TapeScope scope(tape);
    std::vector<Var> inputs;
    std::vector<NodePtr> nodes;
    for (const Var& leaf : leaves) {
      inputs.push_back(kind == Inputs::kLeaves ? leaf : scale(leaf, 1.0f));
      nodes.push_back(inputs.back().node());
    }
    Var y = c.op(inputs);
    inputs.clear();
    o.y = y.value().clone();
    if (kind == Inputs::kOccupied) {
      for (const NodePtr& node : nodes) node->give(Tensor::full(node->shape(), 0.5));
    }
    EXPECT_TRUE(y.requires_grad()) << c.label;
    if (!y.requires_grad()) return o;
    y = Var(Tensor{}, y.node());  // the value is not needed any more
    tape.backward_from(y, to_tensor(dy));
  }
  for (const Var& leaf : leaves) {
    o.grads.push_back(leaf.grad().defined() ? leaf.grad() : Tensor::zeros(leaf.shape()));
  }
  return o;
}

void expect_near(const std::vector<double>& got, const std::vector<double>& want, double tolerance,
                 const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t i = 0; i < got.size(); ++i) {
    if (got[i] == want[i]) continue;  // infinities
    ASSERT_LE(std::fabs(got[i] - want[i]), tolerance)
        << what << " at " << i << ": got " << got[i] << ", want " << want[i];
  }
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.nbytes())) == 0;
}

// A derivative of Σ dy∘reference in one direction through input i.
struct Probe {
  size_t input;
  std::vector<double> direction;  // empty: the coordinate alone
  size_t coordinate;
  double slope;
};

double slope_of(const GradientCase& c, const Array& dy, Probe& p) {
  std::vector<Array> inputs = c.inputs;
  std::vector<double>& x = inputs[p.input].data;
  const auto loss_at = [&](double h) {
    const std::vector<double>& x0 = c.inputs[p.input].data;
    if (p.direction.empty()) {
      x[p.coordinate] = x0[p.coordinate] + h;
    } else {
      for (size_t j = 0; j < x.size(); ++j) x[j] = x0[j] + h * p.direction[j];
    }
    const Array y = c.reference(inputs);
    double s = 0;
    for (int64_t j = 0; j < y.size(); ++j) s += dy.at(j) * y.at(j);
    return s;
  };
  const double above = loss_at(kStep);
  return (above - loss_at(-kStep)) / (2 * kStep);
}

std::vector<Probe> make_probes(const GradientCase& c, const Array& dy) {
  constexpr size_t kEach = 24;       // coordinates looked at one by one …
  constexpr size_t kDirections = 4;  // … or directions of ±1 through all of them
  std::vector<Probe> probes;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    const size_t n = c.inputs[i].data.size();
    if (n <= kEach) {
      for (size_t j = 0; j < n; ++j) probes.push_back({i, {}, j, 0});
      continue;
    }
    std::mt19937_64 random(n + i);
    for (size_t d = 0; d < kDirections; ++d) {
      std::vector<double> direction(n);
      for (double& v : direction) v = random() % 2 == 0 ? 1.0 : -1.0;
      probes.push_back({i, std::move(direction), 0, 0});
    }
  }
  for (Probe& p : probes) p.slope = slope_of(c, dy, p);
  return probes;
}

}  // namespace

void check_gradient_case(const GradientCase& c) {
  SCOPED_TRACE(c.label);
  const Array want = c.reference(c.inputs);
  const Array dy = random_array(want.dims, 4242);
  const std::vector<Probe> probes = make_probes(c, dy);
  const Isa isa_before = current_isa();
  const double unit = kUnit * (16 + c.depth) * c.magnitude;
  for (const Isa isa : available_isas()) {
    SCOPED_TRACE(to_string(isa));
    set_isa(isa);
    const Outcome o = run(c, dy, Inputs::kLeaves);
    if (::testing::Test::HasFailure()) break;
    EXPECT_EQ(std::vector<int64_t>(o.y.shape().dims().begin(), o.y.shape().dims().end()), want.dims);
    double top = 1;
    for (const double v : want.data) {
      if (std::isfinite(v)) top = std::max(top, std::fabs(v));
    }
    expect_near(to_doubles(o.y), want.data, unit * top, "value");
    for (const Probe& p : probes) {
      const std::vector<double> g = to_doubles(o.grads[p.input]);
      double got = 0;
      if (p.direction.empty()) {
        got = g[p.coordinate];
      } else {
        for (size_t j = 0; j < g.size(); ++j) got += g[j] * p.direction[j];
      }
      // Errors of the coordinates add up like a random walk along a direction of ±1.
      const double count = p.direction.empty() ? 1.0 : 4 * std::sqrt(static_cast<double>(g.size()));
      EXPECT_NEAR(got, p.slope,
                  unit * std::max(1.0, largest(g)) * count + 1e-8 * std::max(1.0, std::fabs(p.slope)))
          << "gradient of input " << p.input
          << (p.direction.empty() ? " at " + std::to_string(p.coordinate) : "");
    }
    for (const Inputs kind : {Inputs::kInterior, Inputs::kOccupied}) {
      const Outcome other = run(c, dy, kind);
      EXPECT_TRUE(same_bits(o.y, other.y)) << "reused memory changes the value";
      for (size_t i = 0; i < other.grads.size(); ++i) {
        std::vector<double> g = to_doubles(o.grads[i]);
        const double scale = std::max(1.0, largest(g));
        if (kind == Inputs::kOccupied) {
          for (double& v : g) v += 0.5;
        }
        expect_near(to_doubles(other.grads[i]), g, unit * scale,
                    (kind == Inputs::kOccupied ? "accumulated" : "adopted") +
                        std::string(" gradient of input ") + std::to_string(i));
      }
    }
    if (::testing::Test::HasFailure()) break;
  }
  set_isa(isa_before);

  const int threads_before = get_num_threads();
  Outcome first;
  for (const int threads : {1, 2, 3, 8}) {
    set_num_threads(threads);
    Outcome o = run(c, dy, Inputs::kLeaves);
    if (threads == 1) {
      first = std::move(o);
      continue;
    }
    EXPECT_TRUE(same_bits(o.y, first.y)) << threads << " threads change the value";
    for (size_t i = 0; i < o.grads.size(); ++i) {
      EXPECT_TRUE(same_bits(o.grads[i], first.grads[i])) << threads << " threads change gradient " << i;
    }
  }
  set_num_threads(threads_before);
}

namespace {

class Gradient : public ::testing::TestWithParam<Operation> {};

TEST_P(Gradient, MatchesTheFloat64Reference) {
  const std::vector<GradientCase> cases = GetParam().cases();
  ASSERT_FALSE(cases.empty());
  for (const GradientCase& c : cases) {
    check_gradient_case(c);
    if (HasFailure()) break;
  }
}

INSTANTIATE_TEST_SUITE_P(Operations, Gradient, ::testing::ValuesIn(operations()),
                         [](const auto& operation) { return operation.param.name; });

// A public operation is a function at the start of a line in autograd/functions/*.hpp that returns a Var, or
// a struct of them.
TEST(GradientRegistry, EveryPublicOperationHasACase) {
  std::set<std::string> covered;
  for (const Operation& o : operations()) covered.insert(o.name);
  const std::regex declaration(R"re(^[A-Z]\w* (\w+)\(.*)re");
  int found = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(FOVEA_SOURCE_DIR "/include/fovea/autograd/functions")) {
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      std::smatch match;
      if (!std::regex_match(line, match, declaration)) continue;
      ++found;
      EXPECT_TRUE(covered.contains(match[1])) << match[1] << " of " << entry.path().filename()
                                              << " has no case: add FOVEA_GRADIENT_CASES(" << match[1] << ")";
    }
  }
  EXPECT_GE(found, 30);
}

}  // namespace
}  // namespace fovea::autograd
