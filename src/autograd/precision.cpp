#include "fovea/autograd/precision.hpp"

namespace fovea::autograd {
namespace {

Precision& current() {
  thread_local Precision precision = Precision::kFloat32;
  return precision;
}

}  // namespace

PrecisionScope::PrecisionScope(Precision precision) : before_(current()) {
  current() = precision;
}
PrecisionScope::~PrecisionScope() {
  current() = before_;
}
Precision current_precision() {
  return current();
}

}  // namespace fovea::autograd
