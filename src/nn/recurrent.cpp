#include "fovea/nn/recurrent.hpp"

#include <array>
#include <cmath>

#include "base/check.hpp"
#include "fovea/autograd/functions/rows.hpp"
#include "fovea/nn/dropout.hpp"
#include "fovea/nn/initialization.hpp"

namespace fovea::nn {

using autograd::Direction;
using autograd::RecurrentState;
using autograd::Var;

RecurrentCell::RecurrentCell(RecurrentKind kind, int64_t in, int64_t hidden, Random& random) : kind_(kind) {
  check_argument(in >= 1 && hidden >= 1, "recurrent", "expected widths >= 1, got in {} and hidden {}", in,
                 hidden);
  const int64_t gates = kind == RecurrentKind::kLstm ? 4 : 3;
  Tensor w = Tensor::empty({gates * hidden, in});  // each gate is a layer of its own for Xavier's bound
  for (int64_t g = 0; g < gates; ++g) {
    w.rows(g * hidden, (g + 1) * hidden).copy_from(xavier_uniform({hidden, in}, random));
  }
  input_weight = Var::parameter(std::move(w));
  recurrent_weight = Var::parameter(
      uniform_tensor({gates * hidden, hidden}, random, 1.0 / std::sqrt(static_cast<double>(hidden))));
  Tensor b = Tensor::zeros({gates * hidden});
  if (kind == RecurrentKind::kLstm) b.rows(hidden, 2 * hidden).fill(1);
  bias = Var::parameter(std::move(b));
  if (kind == RecurrentKind::kGru) recurrent_bias = Var::parameter(Tensor::zeros({gates * hidden}));
}

void RecurrentCell::visit(ModuleVisitor& visitor) {
  visitor.parameter("input_weight", input_weight);
  visitor.parameter("recurrent_weight", recurrent_weight);
  visitor.parameter("bias", bias, Decay::kNo);
  visitor.parameter("recurrent_bias", recurrent_bias, Decay::kNo);
}

Var RecurrentCell::forward(const Var& x, const Offsets& offsets,
                           const autograd::RecurrentOptions& options) const {
  if (kind_ == RecurrentKind::kLstm) {
    return autograd::lstm(x, input_weight, recurrent_weight, bias, offsets, options);
  }
  return autograd::gru(x, input_weight, recurrent_weight, bias, recurrent_bias, offsets, options);
}

RecurrentStack::RecurrentStack(const RecurrentStackOptions& options, Random& random) : options_(options) {
  check_argument(options.layers >= 1, "recurrent", "expected at least one layer, got {}", options.layers);
  for (int64_t i = 0; i < options.layers; ++i) {
    const int64_t in = i == 0 ? options.in : out();
    Layer layer;
    layer.forward = RecurrentCell(options.kind, in, options.hidden, random);
    if (options.bidirectional) layer.backward = RecurrentCell(options.kind, in, options.hidden, random);
    layers_.push_back(std::move(layer));
  }
}

void RecurrentStack::visit(ModuleVisitor& visitor) {
  for (size_t i = 0; i < layers_.size(); ++i) {
    const std::string name = "layers." + std::to_string(i);
    visitor.child(name + ".forward", layers_[i].forward);
    if (options_.bidirectional) visitor.child(name + ".backward", layers_[i].backward);
  }
}

Var RecurrentStack::forward(Context& context, const Var& x, const Offsets& offsets,
                            std::vector<RecurrentState>* states) const {
  check_argument(states == nullptr || !options_.bidirectional, "recurrent",
                 "expected no states for a bidirectional stack: its backward half begins at the end");
  if (states != nullptr) states->resize(layers_.size());
  Var h = x;
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (i > 0) h = dropout(context, std::move(h), options_.dropout);
    RecurrentState* state = states == nullptr ? nullptr : &(*states)[i];
    Var forward = layers_[i].forward.forward(h, offsets, {.initial = state, .final = state});
    if (!options_.bidirectional) {
      h = std::move(forward);
      continue;
    }
    const std::array<Var, 2> both{
        std::move(forward), layers_[i].backward.forward(h, offsets, {.direction = Direction::kBackward})};
    h = autograd::concat_columns(both);
  }
  return h;
}

}  // namespace fovea::nn
