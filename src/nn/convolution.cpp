#include "fovea/nn/convolution.hpp"

#include "base/check.hpp"
#include "fovea/nn/initialization.hpp"

namespace fovea::nn {

using autograd::Var;

Conv1d::Conv1d(const Conv1dLayerOptions& o, Random& random) {
  check_argument(o.in >= 1 && o.out >= 1 && o.width >= 1 && o.stride >= 1 && o.dilation >= 1, "conv1d",
                 "expected in, out, width, stride and dilation >= 1, got {}, {}, {}, {}, {}", o.in, o.out,
                 o.width, o.stride, o.dilation);
  weight = Var::parameter(kaiming_normal({o.out, o.width, o.in}, random));
  if (o.bias) bias = Var::parameter(Tensor::zeros({o.out}));
  options_ = {.stride = o.stride, .dilation = o.dilation};
  const int64_t reach = (o.width - 1) * o.dilation;
  if (o.padding == Conv1dPadding::kCausal) options_.pad_left = reach;
  if (o.padding == Conv1dPadding::kSame) {
    options_.pad_left = reach / 2;
    options_.pad_right = reach - reach / 2;
  }
}

void Conv1d::visit(ModuleVisitor& visitor) {
  visitor.parameter("weight", weight);
  visitor.parameter("bias", bias, Decay::kNo);
}

autograd::RaggedVar Conv1d::forward(const Var& x, const Offsets& offsets) const {
  Offsets out = options_.out_offsets(offsets, weight.dim(1));
  Var y = autograd::conv1d(x, weight, bias, offsets, out, options_);
  return {std::move(y), std::move(out)};
}

Conv2d::Conv2d(const Conv2dLayerOptions& o, Random& random) : options_(o.window) {
  check_argument(o.in >= 1 && o.out >= 1 && o.kernel_h >= 1 && o.kernel_w >= 1, "conv2d",
                 "expected in, out and kernel >= 1, got {}, {}, {} × {}", o.in, o.out, o.kernel_h,
                 o.kernel_w);
  weight = Var::parameter(kaiming_normal({o.out, o.in, o.kernel_h, o.kernel_w}, random));
  if (o.bias) bias = Var::parameter(Tensor::zeros({o.out}));
}

void Conv2d::visit(ModuleVisitor& visitor) {
  visitor.parameter("weight", weight);
  visitor.parameter("bias", bias, Decay::kNo);
}

Var Conv2d::forward(const Var& x) const {
  return autograd::conv2d(x, weight, bias, options_);
}

}  // namespace fovea::nn
