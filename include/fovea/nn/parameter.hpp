// Parameter: what a module names and an optimiser trains. A handle: copying it shares value and gradient.
#pragma once

#include <string>
#include <vector>

#include "fovea/autograd/var.hpp"

namespace fovea::nn {

// Whether weight decay may act on a parameter. Matrices that multiply activations decay; biases, norms' gains
// and embeddings do not (Loshchilov and Hutter 2019 leave the choice open; this is what GPT-2 and BERT train
// with).
enum class Decay { kYes, kNo };

// One trainable tensor, as Module::parameters() lists it.
struct Parameter {
  std::string name;           // "layers.0.attention.qkv.weight"
  autograd::Var var;          // value and gradient, shared with the module
  Decay decay = Decay::kYes;  // what optim::decay_groups goes by
};

// Those of a module, in the order of its visit().
using Parameters = std::vector<Parameter>;

}  // namespace fovea::nn
