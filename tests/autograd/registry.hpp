// Every differentiable operation with its cases: random inputs, the operation through the tape, and a float64
// reference. autograd_registry_test.cpp checks them all, and fails for a public operation without a case.
//
//   FOVEA_GRADIENT_CASES(scale) {
//     std::vector<GradientCase> cases;
//     for (int64_t n : awkward_sizes()) cases.push_back({.label = …, .inputs = {random_array({n}, 1)}, .op =
//     …,
//                                                        .reference = …});
//     return cases;
//   }
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "fovea/autograd/var.hpp"
#include "tests/reference/array.hpp"

namespace fovea::autograd {

using reference::Array;

struct GradientCase {
  std::string label;
  std::vector<Array> inputs;  // float32 values held as float64; all of them are differentiated
  // May move from its arguments, so that the paths that reuse memory are walked.
  std::function<Var(std::vector<Var>& inputs)> op;
  std::function<Array(const std::vector<Array>& inputs)> reference;
  // The longest chain of roundings behind one output or gradient: the longest sum, mostly. The tolerance is
  // (16 + depth)·2^-24 times the largest value: each rounding errs by at most 2^-24 of a partial sum.
  double depth = 1;
  // Larger than 1 where intermediate values are that much larger than the result.
  double magnitude = 1;
};

struct Operation {
  std::string name;
  std::vector<GradientCase> (*cases)();
};

std::vector<Operation>& operations();

struct Registration {
  Registration(const char* name, std::vector<GradientCase> (*cases)()) {
    operations().push_back({name, cases});
  }
};

#define FOVEA_GRADIENT_CASES(name)                                                       \
  static std::vector<::fovea::autograd::GradientCase> name##_cases();                    \
  static const ::fovea::autograd::Registration name##_registration(#name, name##_cases); \
  static std::vector<::fovea::autograd::GradientCase> name##_cases()

inline const std::vector<int64_t>& awkward_sizes() {
  static const std::vector<int64_t> sizes{0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 1000};
  return sizes;
}

// Uniform in [low, high), rounded to float32; a function of the shape and the seed.
Array random_array(std::vector<int64_t> dims, uint64_t seed, double low = -1.0, double high = 1.0);
std::vector<int64_t> random_ids(int64_t n, int64_t low, int64_t high, uint64_t seed);
Tensor to_tensor(const Array& a);
Tensor to_tensor(const std::vector<int64_t>& ids, DType dtype = DType::kI64);
// n tokens cut into sequences of awkward lengths, empty ones among them; sums to n.
Offsets awkward_offsets(int64_t n);

void check_gradient_case(const GradientCase& c);

}  // namespace fovea::autograd
