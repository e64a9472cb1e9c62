// Recurrent stacks for baselines: LSTM and GRU over packed sequences, several layers, in one or both
// directions. Names: "layers.0.forward.input_weight" [gates·hidden, in], "….recurrent_weight" [gates·hidden,
// hidden], "….bias", and for a GRU "….recurrent_bias"; "layers.0.backward.…" for the other direction.
#pragma once

#include <vector>

#include "fovea/autograd/functions/recurrent.hpp"
#include "fovea/nn/context.hpp"
#include "fovea/nn/module.hpp"

namespace fovea::nn {

// Which cell; formulas and papers in autograd/functions/recurrent.hpp.
enum class RecurrentKind { kLstm, kGru };

// Of a stack; ArgumentError from it unless widths and layers >= 1.
struct RecurrentStackOptions {
  RecurrentKind kind = RecurrentKind::kLstm;  // of every layer
  int64_t in = 0;                             // columns of x
  int64_t hidden = 0;                         // of each layer and direction
  int64_t layers = 1;                         // each reads what the one below gave
  bool bidirectional = false;                 // outputs [T, 2·hidden], forward | backward
  float dropout = 0.0F;                       // between layers (Zaremba et al. 2014)
};

// One layer in one direction. Input weights begin Xavier-uniform, recurrent ones uniform within 1/√hidden,
// biases 0 but for the LSTM's forget gate, which begins at 1 so that memory is kept from the start (Gers et
// al. 2000, Jozefowicz et al. 2015).
class RecurrentCell final : public Module {
 public:
  RecurrentCell() = default;
  // ArgumentError unless in and hidden >= 1.
  RecurrentCell(RecurrentKind kind, int64_t in, int64_t hidden, Random& random);
  void visit(ModuleVisitor& visitor) override;

  // [T, in] -> [T, hidden], in the order of x whatever the direction.
  autograd::Var forward(const autograd::Var& x, const Offsets& offsets,
                        const autograd::RecurrentOptions& options) const;

  // Shapes as above; recurrent_bias is undefined in an LSTM.
  autograd::Var input_weight, recurrent_weight, bias, recurrent_bias;

 private:
  RecurrentKind kind_ = RecurrentKind::kLstm;
};

// Layers upon one another, each of a cell or, in both directions, of two.
class RecurrentStack final : public Module {
 public:
  RecurrentStack() = default;
  // Draws the cells in order, forward before backward.
  RecurrentStack(const RecurrentStackOptions& options, Random& random);
  void visit(ModuleVisitor& visitor) override;

  // x [T, in] -> [T, hidden or 2·hidden]. `states`, one a layer, continue where the last call stopped and are
  // left after this one's last tokens (for generation and long texts); empty ones begin at zero. One
  // direction only.
  autograd::Var forward(Context& context, const autograd::Var& x, const Offsets& offsets,
                        std::vector<autograd::RecurrentState>* states = nullptr) const;

  // Columns of the result: hidden, or 2·hidden.
  int64_t out() const { return options_.hidden * (options_.bidirectional ? 2 : 1); }

 private:
  struct Layer {
    RecurrentCell forward, backward;
  };
  RecurrentStackOptions options_;
  std::vector<Layer> layers_;
};

}  // namespace fovea::nn
