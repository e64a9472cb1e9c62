// A network that reads a text and names its class: embedding, a body of one of three kinds, pooling, one
// linear layer.
//   x = token + character n-grams + token n-grams + position;  h = body(x);  logits = pool(h) Wᵀ + b
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/formats/tokenizer.hpp"
#include "fovea/models/kind.hpp"
#include "fovea/nn/convolution.hpp"
#include "fovea/nn/linear.hpp"
#include "fovea/nn/pooling.hpp"
#include "fovea/nn/positions.hpp"
#include "fovea/nn/recurrent.hpp"
#include "fovea/nn/transformer.hpp"

namespace fovea::models {

// The shape of a classifier; config.json of its folder. Defaults suit thousands to millions of short texts.
struct TextClassifierConfig {
  ModelKind kind = ModelKind::kAttention;  // kAttention, kLstm or kCnn
  int64_t vocab_size = 0;                  // V, the tokenizer's
  int64_t classes = 0;                     // C, columns of the logits
  int64_t layers = 2;                      // attention, LSTM
  int64_t width = 128;         // of a token's row; even for an LSTM, which has half in each direction
  int64_t heads = 4;           // attention
  int64_t feed_forward = 512;  // attention; 4 x width, as in every paper since the first
  int64_t members =
      1;  // classifiers that decide together (TextEnsemble); a TextClassifier itself is always one
  // attention: what of the last layer's rows the classes are told from, side by side. What a class needs may
  // be said once (attention, a learned query), anywhere (max), or be the tenor of it all (mean). None twice.
  std::vector<nn::PoolingKind> pooling = {nn::PoolingKind::kMean, nn::PoolingKind::kMax,
                                          nn::PoolingKind::kAttention};
  int64_t max_tokens = 512;  // learned positions; longer texts are cut
  // Token n-grams from pairs up to this length have hashed embeddings of their own, added to the last
  // token's: a text of seven words is told by its pairs, which two layers of attention would have to learn
  // first. 1: none.
  int64_t ngrams = 1;
  int64_t ngram_buckets = 1 << 14;  // rows that token n-grams share by their hash
  // Character n-grams of 3 up to this many bytes of each token have hashed embeddings, whose mean joins the
  // token's: a rare or unseen word is known by its parts (fastText; Bojanowski et al. 2017). 0: none.
  int64_t char_ngrams = 0;
  int64_t char_buckets = 1 << 15;  // rows that character n-grams share by their hash

  // Probabilities of being dropped while training.
  float token_dropout = 0.1F;      // whole tokens: the strongest regulariser of bag-like tasks
  float word_dropout = 0.0F;       // the token's own row, leaving its n-grams: teaches to read unknown words
  float ngram_dropout = 0.3F;      // whole n-gram embeddings, of tokens and of characters
  float embedding_dropout = 0.1F;  // elements of the embeddings
  float dropout = 0.1F;            // elements of each branch before it joins the residual
  float attention_dropout = 0.0F;  // weights of attention
  float pooled_dropout = 0.3F;     // elements of the pooled features

  // One line of JSON, Hugging Face's names where it has them. parse: DataError named by `where`.
  std::string to_json() const;
  static TextClassifierConfig parse(std::string_view json, std::string_view where);
};

// What a text classifier reads: packed tokens of N texts (each may be empty) and, for models with character
// n-grams, the buckets of each token's n-grams.
struct TextBatch {
  Tensor ids;            // [T] int32
  Offsets offsets;       // N texts in T tokens
  Tensor chars;          // [G] int32, undefined without
  Offsets char_offsets;  // T tokens in G n-grams
};

// {"mean", "max"} and back. ArgumentError for an unknown name, one given twice, or none.
std::vector<nn::PoolingKind> poolings(std::span<const std::string> names);
std::vector<std::string> pooling_names(std::span<const nn::PoolingKind> kinds);

// Parameters "tokens.…", "encoder.…" (or "lstm.…", "convolutions.…") and "classifier.…". Forward passes may
// run side by side.
class TextClassifier : public nn::Module {
 public:
  // Parameters drawn from `seed`. ArgumentError for sizes below one, heads that do not divide the width,
  // an odd width of an LSTM, or another kind.
  TextClassifier(const TextClassifierConfig& config, uint64_t seed);

  // As it was made.
  const TextClassifierConfig& config() const { return config_; }
  void visit(nn::ModuleVisitor& visitor) override;

  // [N, classes]
  autograd::Var logits(const TextBatch& batch, nn::Context& context) const {
    return classify(embed(batch, context), batch.offsets, context);
  }
  // For models without character n-grams: the ids alone. ArgumentError for others.
  autograd::Var logits(const Tensor& ids, const Offsets& offsets, nn::Context& context) const {
    return logits(TextBatch{ids, offsets, {}, {}}, context);
  }
  // Likewise, the first half of it.
  autograd::Var embed(const Tensor& ids, const Offsets& offsets, nn::Context& context) const {
    return embed(TextBatch{ids, offsets, {}, {}}, context);
  }

  // The two halves, for looking inside: [T, width] embeddings (retain_grad() them), and the rest.
  autograd::Var embed(const TextBatch& batch, nn::Context& context) const;
  autograd::Var classify(autograd::Var x, const Offsets& offsets, nn::Context& context) const;

 private:
  TextClassifierConfig config_;
  nn::Embedding tokens_, ngrams_, chars_, positions_;
  nn::Transformer transformer_;
  nn::RecurrentStack recurrent_;
  std::vector<nn::Conv1d> convolutions_;  // Kim's windows, of 2, 3 and 4 tokens: texts may be short
  std::vector<nn::Pooling> pooling_;      // attention
  nn::Linear classifier_;
};

// A text as the classifier reads it.
struct EncodedText {
  std::vector<int32_t> ids;          // of its tokens, in [0, vocab_size)
  std::vector<int32_t> chars;        // buckets of all tokens' character n-grams
  std::vector<int32_t> char_counts;  // how many each token has; empty without
};
// Adds a token: its id and, where the model has character n-grams, their buckets (ASCII letters lowered, a
// mark at each end: "<cat>"). `token` is the token's piece of the text.
void append_token(int32_t id, std::string_view token, const TextClassifierConfig& config, EncodedText& text);
// All tokens of a text that a tokenizer encoded.
EncodedText network_input(std::string_view text, const formats::Encoding& encoding,
                          const TextClassifierConfig& config);
// Packs texts into a batch.
TextBatch make_batch(std::span<const EncodedText* const> texts);

}  // namespace fovea::models
