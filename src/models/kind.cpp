#include "fovea/models/kind.hpp"

#include <array>

#include "base/check.hpp"

namespace fovea::models {
namespace {
constexpr std::array kNames = {"attention", "lstm", "cnn", "linear", "majority"};
}  // namespace

const char* to_string(ModelKind kind) {
  return kNames[static_cast<size_t>(kind)];
}

ModelKind model_kind(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (name == kNames[i]) return static_cast<ModelKind>(i);
  }
  throw_argument("model_kind", "expected attention, lstm, cnn, linear or majority, got \"{}\"", name);
}

}  // namespace fovea::models
