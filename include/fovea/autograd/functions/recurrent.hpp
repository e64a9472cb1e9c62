// Recurrent layers over packed sequences of any lengths, forward and backward in one function each: one
// matrix product projects the inputs of all tokens, then each time step advances the sequences still alive
// (sorted by length, so they are a prefix), and the backward pass walks the steps in reverse. No step
// computes a token that is not there. Batches of 8 sequences and more are dealt into groups, by their number
// alone, that advance independently of one another on several threads. float32; same bits for any number of
// threads.
#pragma once

#include "fovea/autograd/var.hpp"

namespace fovea::autograd {

// The order in which a sequence's tokens are read. A bidirectional layer is one of each, side by side.
enum class Direction {
  kForward,   // token 0 first
  kBackward,  // each sequence's last token first; output t has seen tokens t … end
};

// The state between calls: read before the first step, left after each sequence's last. Not differentiated:
// gradients stop at a call's first token (truncated back-propagation through time; Williams and Peng 1990).
struct RecurrentState {
  Tensor h;  // [N, hidden], undefined: zeros
  Tensor c;  // [N, hidden], LSTM only
};

// How a recurrent layer walks, and where its state comes from and goes.
struct RecurrentOptions {
  Direction direction = Direction::kForward;  // outputs stay in the order of x
  const RecurrentState* initial = nullptr;    // zeros
  RecurrentState* final = nullptr;            // receives the last states; may be `initial`
};

// Long short-term memory (Hochreiter and Schmidhuber 1997, with Gers' forget gate), PyTorch's gate order i |
// f | g | o:
//   i, f, o = σ(W x + U h + b), g = tanh(W x + U h + b), c ← f∘c + i∘g, h ← o∘tanh(c).
// x [T, in], w [4·hidden, in], u [4·hidden, hidden], b [4·hidden] or undefined -> h of every token [T,
// hidden], in the order of x whatever the direction. PyTorch's two biases are one here: their sum.
// ArgumentError for shapes that do not fit.
Var lstm(const Var& x, const Var& w, const Var& u, const Var& b, const Offsets& offsets,
         const RecurrentOptions& options = {});

// Gated recurrent unit (Cho et al. 2014), PyTorch's form and gate order r | z | n:
//   r, z = σ(W x + b + U h + b'), n = tanh(W x + b + r∘(U h + b')), h ← (1 − z)∘n + z∘h.
// x [T, in], w [3·hidden, in], u [3·hidden, hidden], b and b_recurrent [3·hidden] or undefined -> [T,
// hidden].
Var gru(const Var& x, const Var& w, const Var& u, const Var& b, const Var& b_recurrent,
        const Offsets& offsets, const RecurrentOptions& options = {});

}  // namespace fovea::autograd
