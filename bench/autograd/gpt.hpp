// A GPT written by hand on the autograd functions, as small as nanoGPT's: learned positions, pre-norm blocks,
// GELU, no biases in the projections, the head tied to the token embedding.
#pragma once

#include <cmath>
#include <vector>

#include "fovea/autograd/functions/attention.hpp"
#include "fovea/autograd/functions/embedding.hpp"
#include "fovea/autograd/functions/feed_forward.hpp"
#include "fovea/autograd/functions/linear.hpp"
#include "fovea/autograd/functions/losses.hpp"
#include "fovea/autograd/functions/norm.hpp"
#include "fovea/autograd/tape.hpp"
#include "fovea/base/random.hpp"
#include "fovea/kernels/optimizer.hpp"

namespace fovea::bench {

using autograd::Var;

struct GptShape {
  int64_t layers, heads, width, block, batch, vocabulary;
};

// Wraps each call of a function of the forward pass: timed("linear", [&] { return linear(…); }).
template <class Timer>
class Gpt {
 public:
  Gpt(const GptShape& shape, Timer timer) : shape_(shape), timed_(std::move(timer)) {
    const int64_t c = shape.width;
    tokens_ = normal({shape.vocabulary, c}, 0.02);
    positions_ = normal({shape.block, c}, 0.02);
    const double residual = 0.02 / std::sqrt(2.0 * static_cast<double>(shape.layers));
    for (int64_t i = 0; i < shape.layers; ++i) {
      blocks_.push_back({ones(c), normal({3 * c, c}, 0.02), normal({c, c}, residual), ones(c),
                         normal({4 * c, c}, 0.02), normal({c, 4 * c}, residual)});
    }
    last_ = ones(c);
    offsets_ = Offsets::uniform(shape.batch, shape.block);
    place_ = Tensor::empty({shape.batch * shape.block}, DType::kI32);
    for (int64_t t = 0; t < place_.numel(); ++t)
      place_.data<int32_t>()[t] = static_cast<int32_t>(t % shape.block);
    for (Var* p : parameters()) {
      moments_.push_back(Tensor::zeros(p->shape()));
      moments_.push_back(Tensor::zeros(p->shape()));
    }
  }

  Var loss(const Tensor& ids, const Tensor& targets) {
    namespace ag = autograd;
    ag::AttentionOptions options{.heads = shape_.heads};
    options.spec.causal = true;
    Var x = timed_("embedding", [&] { return ag::embedding(tokens_, ids); });
    x = timed_("add_embedding", [&] { return ag::add_embedding(x, positions_, place_); });
    Var h = timed_("layer_norm", [&] { return ag::layer_norm(x, blocks_[0].norm1, {}); });
    for (size_t i = 0; i < blocks_.size(); ++i) {
      const Block& b = blocks_[i];
      h = timed_("linear", [&] { return ag::linear(h, b.qkv); });
      h = timed_("attention", [&] { return ag::attention_qkv(std::move(h), offsets_, options); });
      h = timed_("linear", [&] { return ag::linear(h, b.projection); });
      residual_norm(x, h, b.norm2);
      h = timed_("feed_forward", [&] { return ag::feed_forward(h, b.up, {}, b.down, {}); });
      residual_norm(x, h, i + 1 < blocks_.size() ? blocks_[i + 1].norm1 : last_);
    }
    x = Var();
    return timed_("linear_cross_entropy", [&] { return ag::linear_cross_entropy(h, tokens_, {}, targets); });
  }

  // AdamW with the gradient clipped to norm 1, then the gradients forgotten.
  void update(float learning_rate) {
    std::vector<kernels::OptimizerTensor, PoolAllocator<kernels::OptimizerTensor>> all;
    size_t i = 0;
    for (Var* p : parameters()) {
      all.push_back({.n = p->numel(),
                     .param = p->value().data(),
                     .grad = p->grad().data(),
                     .m = moments_[i].data(),
                     .v = moments_[i + 1].data(),
                     .weight_decay = p->shape().rank() == 2 ? 0.1f : 0.0f});
      i += 2;
    }
    const double norm = std::sqrt(kernels::grad_squared_norm(all));
    kernels::adam_step({.learning_rate = learning_rate,
                        .beta2 = 0.99f,
                        .step = ++step_,
                        .grad_scale = norm > 1.0 ? static_cast<float>(1.0 / norm) : 1.0f},
                       all);
    for (Var* p : parameters()) p->clear_grad();
  }

  std::vector<Var*, PoolAllocator<Var*>> parameters() {
    std::vector<Var*, PoolAllocator<Var*>> all{&tokens_, &positions_};
    for (Block& b : blocks_) {
      for (Var* p : {&b.norm1, &b.qkv, &b.projection, &b.norm2, &b.up, &b.down}) all.push_back(p);
    }
    all.push_back(&last_);
    return all;
  }

 private:
  struct Block {
    Var norm1, qkv, projection, norm2, up, down;
  };

  // x becomes x + h, h its normalisation.
  void residual_norm(Var& x, Var& h, const Var& gamma) {
    auto both = timed_("add_layer_norm",
                       [&] { return autograd::add_layer_norm(std::move(h), std::move(x), gamma, {}); });
    x = std::move(both.sum);
    h = std::move(both.norm);
  }
  Var normal(const Shape& shape, double deviation) {
    Tensor t = Tensor::empty(shape);
    for (float& v : t.span()) v = static_cast<float>(deviation * random_.normal());
    return Var::parameter(std::move(t));
  }
  static Var ones(int64_t n) { return Var::parameter(Tensor::full({n}, 1)); }

  GptShape shape_;
  Timer timed_;
  Random random_{1};
  Var tokens_, positions_, last_;
  std::vector<Block> blocks_;
  std::vector<Tensor> moments_;
  Offsets offsets_;
  Tensor place_;
  int64_t step_ = 0;
};

}  // namespace fovea::bench
