// How weights begin. Each takes its numbers from an explicit generator, in row-major order, so that a model
// is a function of its options and the seed. Weights are [out, in] as linear layers hold them; float32.
#pragma once

#include "fovea/base/random.hpp"
#include "fovea/tensor/tensor.hpp"

namespace fovea::nn {

// N(mean, deviation²).
Tensor normal_tensor(const Shape& shape, Random& random, double deviation, double mean = 0.0);

// N(0, deviation²) drawn again where it falls beyond two deviations: BERT and ViT, with 0.02.
Tensor truncated_normal_tensor(const Shape& shape, Random& random, double deviation = 0.02);

// Uniform in [−bound, bound).
Tensor uniform_tensor(const Shape& shape, Random& random, double bound);

// Uniform with bound √(6 / (in + out)) (Glorot and Bengio 2010): keeps the variance of values and of
// gradients equal through linear maps. What "Attention is all you need" uses. shape [out, in], or [out, …,
// in] with the middle counted into both (a convolution's window).
Tensor xavier_uniform(const Shape& shape, Random& random, double gain = 1.0);

// Normal with deviation √(2 / in) (He et al. 2015): keeps the variance through ReLU. in = all dimensions but
// the first.
Tensor kaiming_normal(const Shape& shape, Random& random);

// Which of the above a layer's matrices begin with.
enum class Initialization {
  kXavierUniform,    // the Transformer's paper
  kKaimingNormal,    // in front of ReLU
  kTruncatedNormal,  // deviation 0.02: BERT
  kNormal,           // deviation 0.02: GPT-2
};
// A tensor that begins so; a deviation of 0.02 where the name leaves it open. ArgumentError for fewer than
// two dimensions with the first two.
Tensor initialized(const Shape& shape, Initialization how, Random& random);

// While alive on this thread, all of the above leave their tensors unset: for a model whose every parameter
// is about to be loaded (Module::adopt_state), whose weights would be drawn for nothing (ten million normal
// numbers take half a second) and whose memory would be touched for nothing.
class SkipInitialization {
 public:
  SkipInitialization();
  SkipInitialization(const SkipInitialization&) = delete;
  SkipInitialization& operator=(const SkipInitialization&) = delete;
  ~SkipInitialization();

 private:
  bool before_;
};

}  // namespace fovea::nn
