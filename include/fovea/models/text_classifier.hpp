// A network that reads a text and names its class: embedding, a body of one of three kinds, pooling, one linear layer.
//   x = embedding(ids) [+ n-gram embeddings] + positions;  h = body(x);  logits = pool(h) Wᵀ + b
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fovea/models/kind.hpp"
#include "fovea/nn/context.hpp"
#include "fovea/nn/module.hpp"
#include "fovea/tensor/ragged.hpp"

namespace fovea::models {

struct TextClassifierConfig {
  ModelKind kind = ModelKind::kAttention;  // kAttention, kLstm or kCnn
  int64_t vocab_size = 0;
  int64_t classes = 0;
  int64_t layers = 2;
  int64_t width = 128;
  int64_t heads = 4;            // attention
  int64_t feed_forward = 512;   // attention; 4 x width, as in every paper since the first
  int64_t max_tokens = 512;     // learned positions; longer texts are cut
  // Token n-grams from pairs up to this length have hashed embeddings of their own, added to the last token's: a text
  // of seven words is told by its pairs, which two layers of attention would have to learn first. 1: none.
  int64_t ngrams = 1;
  int64_t ngram_buckets = 1 << 14;
  // Probabilities of being dropped while training.
  float token_dropout = 0.1F;      // whole tokens: the strongest regulariser of bag-like tasks
  float ngram_dropout = 0.3F;      // whole n-gram embeddings
  float embedding_dropout = 0.1F;  // elements of the embeddings
  float dropout = 0.1F;            // elements of each branch before it joins the residual
  float attention_dropout = 0.0F;
  float pooled_dropout = 0.3F;     // elements of the pooled features

  // One line of JSON, Hugging Face's names where it has them. parse: DataError named by `where`.
  std::string to_json() const;
  static TextClassifierConfig parse(std::string_view json, std::string_view where);
};

class TextClassifier : public nn::Module {
 public:
  // Parameters drawn from `seed`. ArgumentError for sizes below one or heads that do not divide the width.
  TextClassifier(const TextClassifierConfig& config, uint64_t seed);

  const TextClassifierConfig& config() const { return config_; }
  void visit(nn::ModuleVisitor& visitor) override;

  // ids [T] int32, offsets of N texts (each may be empty) -> [N, classes].
  autograd::Var logits(const Tensor& ids, const Offsets& offsets, nn::Context& context) const {
    return classify(embed(ids, offsets, context), offsets, context);
  }
  // The two halves, for looking inside: [T, width] embeddings (retain_grad() them), and the rest.
  autograd::Var embed(const Tensor& ids, const Offsets& offsets, nn::Context& context) const;
  autograd::Var classify(autograd::Var x, const Offsets& offsets, nn::Context& context) const;

 private:
  // One pre-norm block: x += attention(norm(x)), x += feed_forward(norm(x)) (Xiong et al. 2020: trains without care).
  struct Block {
    autograd::Var attention_gain, attention_shift, qkv_weight, qkv_bias, output_weight, output_bias;
    autograd::Var forward_gain, forward_shift, up_weight, up_bias, down_weight, down_bias;
  };
  // Bidirectional LSTM layer, hidden width/2 a direction.
  struct Recurrent {
    autograd::Var w[2], u[2], b[2];
  };
  // Kim's convolutions: windows of 2, 3 and 4 tokens (texts here may be short), `width` filters each.
  struct Window {
    autograd::Var weight, bias;
  };
  autograd::Var attention_body(autograd::Var x, const Offsets& offsets, nn::Context& context) const;
  autograd::Var pooled(const autograd::Var& x, const Offsets& offsets, nn::Context& context) const;

  TextClassifierConfig config_;
  autograd::Var tokens_, ngrams_, positions_;
  std::vector<Block> blocks_;
  std::vector<Recurrent> recurrents_;
  std::vector<Window> windows_;
  autograd::Var final_gain_, final_shift_, pool_query_;
  autograd::Var class_weight_, class_bias_;
};

}  // namespace fovea::models
