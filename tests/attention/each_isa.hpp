// Tests of one instruction set after the other, each with any number of threads.
#pragma once

#include <gtest/gtest.h>

#include "fovea/base/cpu.hpp"
#include "fovea/base/parallel.hpp"
#include "tests/attention/problem.hpp"

namespace fovea::testing {

class EachIsa : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    before_ = current_isa();
    set_isa(GetParam());
  }
  void TearDown() override {
    set_isa(before_);
    set_num_threads(threads_);
  }

 private:
  Isa before_ = Isa::kBaseline;
  int threads_ = get_num_threads();
};

// Of what both have.
inline void expect_same_results(const Results& a, const Results& b, const std::string& what) {
  const auto expect_same = [&](const Tensor& x, const Tensor& y, const char* name) {
    ASSERT_EQ(x.defined(), y.defined()) << what << " " << name;
    if (x.defined()) expect_same_bits(x, y, what + " " + name);
  };
  expect_same(a.out, b.out, "out");
  expect_same(a.lse, b.lse, "lse");
  expect_same(a.dq, b.dq, "dq");
  expect_same(a.dk, b.dk, "dk");
  expect_same(a.dv, b.dv, "dv");
  expect_same(a.dbias, b.dbias, "dbias");
}

// Against float64, and the same bits on any number of threads: that number decides whether shares of
// gradients are added afterwards or at once.
inline void check_on_threads(const Problem& p) {
  const Arrays arrays = make_arrays(p);
  set_num_threads(1);
  const Results one = run_engine(arrays);
  expect_equal_to_reference(arrays, one);
  for (const int threads : {2, 3, 8}) {
    set_num_threads(threads);
    expect_same_results(one, run_engine(arrays), p.describe() + " on " + std::to_string(threads));
  }
}

}  // namespace fovea::testing
