// What tells attention where tokens stand, and the embedding layers that begin a model.
#pragma once

#include <span>

#include "fovea/nn/context.hpp"
#include "fovea/nn/module.hpp"
#include "fovea/nn/norm.hpp"
#include "fovea/tensor/ragged.hpp"

namespace fovea::nn {

// How a model knows the order of its tokens. Learned and sinusoidal ones belong to the TokenEmbedding, the
// others to attention.
enum class Positions {
  kNone,
  kLearned,     // one trainable row a position, added to the token (BERT, GPT-2)
  kSinusoidal,  // fixed waves, added to the token (Vaswani et al. 2017)
  kRotary,      // queries and keys turned by their position (Su et al. 2021)
  kAlibi,       // scores fall with the distance (Press et al. 2022)
  kRelative,    // a trainable bias a bucket of distance (Raffel et al. 2020, T5)
};

// [length, width]: sin(p / 10000^(2i / width)) in column 2i, cos in column 2i + 1 (Vaswani et al. 2017, 3.5).
Tensor sinusoidal_table(int64_t length, int64_t width);

// 2^(−8(h + 1) / H) for H a power of two; else those of the next lower power, then every other one of the
// next higher, as Press et al. publish them. [H]
Tensor alibi_slopes(int64_t heads);

// The position of each token within its sequence, int32 [T]. Sequence n counts from first[n]; empty: from 0.
Tensor positions_of(const Offsets& offsets, std::span<const int64_t> first = {});

// One trainable row an id: "weight" [V, C], which does not decay. Begins N(0, deviation²).
class Embedding final : public Module {
 public:
  Embedding() = default;
  // V rows of C columns. ArgumentError unless both >= 1.
  Embedding(int64_t count, int64_t width, Random& random, double deviation = 0.02);
  void visit(ModuleVisitor& visitor) override;

  // ids [T] int32 or int64 in [−1, V), −1 gives zeros -> [T, C].
  autograd::Var forward(const Tensor& ids) const;

  // Assign another layer's to tie the two: a language model's output layer, say.
  autograd::Var weight;
};

// How a model's first layer is made. Dropouts act while training only.
struct TokenEmbeddingOptions {
  int64_t vocabulary = 0;                     // V: ids lie in [−1, V)
  int64_t width = 0;                          // C
  Positions positions = Positions::kLearned;  // only learned and sinusoidal ones act here
  int64_t max_length = 512;                   // of learned and sinusoidal positions
  float scale = 1.0F;                         // of the token's row: √width in Vaswani et al.
  bool norm = false;                          // LayerNorm on the sum (BERT)
  float token_dropout = 0.0F;                 // of whole tokens, before their position is added
  float dropout = 0.0F;                       // of the result's elements
  double deviation = 0.02;                    // of the tables' initial normal numbers: BERT's and GPT-2's
};

// Tokens and their positions: "tokens.weight", "positions.weight", "norm.weight".
class TokenEmbedding final : public Module {
 public:
  TokenEmbedding() = default;
  // ArgumentError unless vocabulary and width >= 1.
  TokenEmbedding(const TokenEmbeddingOptions& options, Random& random);
  void visit(ModuleVisitor& visitor) override;

  // ids [T] -> [T, width]. first: where each sequence continues (a cache's lengths); empty: 0.
  // ArgumentError for a sequence beyond max_length.
  autograd::Var forward(Context& context, const Tensor& ids, const Offsets& offsets,
                        std::span<const int64_t> first = {}) const;

  // The rows of the tokens, without positions.
  Embedding tokens;

 private:
  TokenEmbeddingOptions options_;
  autograd::Var positions_;  // [max_length, width]; a constant when sinusoidal
  Norm norm_;
};

}  // namespace fovea::nn
