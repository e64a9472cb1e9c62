// Convolution layers for baselines: over the tokens of packed sequences, and over images. They begin
// Kaiming-normal, biases 0.
#pragma once

#include "fovea/autograd/functions/convolution.hpp"
#include "fovea/base/random.hpp"
#include "fovea/nn/module.hpp"

namespace fovea::nn {

// Where a window may reach beyond its sequence, and read zeros.
enum class Conv1dPadding {
  kNone,    // windows inside of the sequence only
  kSame,    // as many tokens as before (stride 1); the odd zero goes behind
  kCausal,  // a window ends at its token
};

// Of one layer over packed tokens.
struct Conv1dLayerOptions {
  int64_t in = 0;                                // columns of x
  int64_t out = 0;                               // columns of the result
  int64_t width = 3;                             // tokens that a window reads
  Conv1dPadding padding = Conv1dPadding::kSame;  // so that each token keeps its place
  int64_t stride = 1;                            // tokens from one window to the next
  int64_t dilation = 1;                          // tokens from one that a window reads to the next
  bool bias = true;                              // begins at 0
};

// Parameters "weight" [out, width, in] and "bias" [out].
class Conv1d final : public Module {
 public:
  Conv1d() = default;
  // ArgumentError unless in, out, width, stride and dilation >= 1.
  Conv1d(const Conv1dLayerOptions& options, Random& random);
  void visit(ModuleVisitor& visitor) override;

  // [T, in] -> [T', out] and the offsets that cut it.
  autograd::RaggedVar forward(const autograd::Var& x, const Offsets& offsets) const;

  // Shapes as above; bias is undefined without.
  autograd::Var weight, bias;

 private:
  autograd::Conv1dOptions options_;
};

// Of one layer over images.
struct Conv2dLayerOptions {
  int64_t in = 0;                    // channels of x
  int64_t out = 0;                   // channels of the result
  int64_t kernel_h = 3;              // pixels that a window reads, down …
  int64_t kernel_w = 3;              // … and across
  autograd::Conv2dOptions window{};  // strides and pads
  bool bias = true;                  // begins at 0
};

// Parameters "weight" [out, in, kernel_h, kernel_w] and "bias" [out]. x [batch, h, w, in].
class Conv2d final : public Module {
 public:
  Conv2d() = default;
  // ArgumentError unless in, out and the kernel >= 1.
  Conv2d(const Conv2dLayerOptions& options, Random& random);
  void visit(ModuleVisitor& visitor) override;
  // As autograd::conv2d, with the layer's strides and pads.
  autograd::Var forward(const autograd::Var& x) const;

  // Shapes as above; bias is undefined without.
  autograd::Var weight, bias;

 private:
  autograd::Conv2dOptions options_;
};

}  // namespace fovea::nn
