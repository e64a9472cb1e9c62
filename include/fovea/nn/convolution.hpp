// Convolution layers for baselines: over the tokens of packed sequences, and over images. They begin
// Kaiming-normal, biases 0.
#pragma once

#include "fovea/autograd/functions/convolution.hpp"
#include "fovea/base/random.hpp"
#include "fovea/nn/module.hpp"

namespace fovea::nn {

enum class Conv1dPadding {
  kNone,    // windows inside of the sequence only
  kSame,    // as many tokens as before (stride 1); the odd zero goes behind
  kCausal,  // a window ends at its token
};

struct Conv1dLayerOptions {
  int64_t in = 0;
  int64_t out = 0;
  int64_t width = 3;
  Conv1dPadding padding = Conv1dPadding::kSame;
  int64_t stride = 1;
  int64_t dilation = 1;
  bool bias = true;
};

// Parameters "weight" [out, width, in] and "bias" [out].
class Conv1d final : public Module {
 public:
  Conv1d() = default;
  Conv1d(const Conv1dLayerOptions& options, Random& random);
  void visit(ModuleVisitor& visitor) override;

  // [T, in] -> [T', out] and the offsets that cut it.
  autograd::RaggedVar forward(const autograd::Var& x, const Offsets& offsets) const;

  autograd::Var weight, bias;

 private:
  autograd::Conv1dOptions options_;
};

struct Conv2dLayerOptions {
  int64_t in = 0;
  int64_t out = 0;
  int64_t kernel_h = 3;
  int64_t kernel_w = 3;
  autograd::Conv2dOptions window{};
  bool bias = true;
};

// Parameters "weight" [out, in, kernel_h, kernel_w] and "bias" [out]. x [batch, h, w, in].
class Conv2d final : public Module {
 public:
  Conv2d() = default;
  Conv2d(const Conv2dLayerOptions& options, Random& random);
  void visit(ModuleVisitor& visitor) override;
  autograd::Var forward(const autograd::Var& x) const;

  autograd::Var weight, bias;

 private:
  autograd::Conv2dOptions options_;
};

}  // namespace fovea::nn
