#include "fovea/optim/gradient.hpp"

#include <cmath>
#include <vector>

#include "base/check.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/kernels/elementwise.hpp"
#include "fovea/kernels/optimizer.hpp"
#include "fovea/kernels/reduce.hpp"

namespace fovea::optim {

double gradient_norm(std::span<const nn::Parameter> parameters) {
  std::vector<kernels::OptimizerTensor, PoolAllocator<kernels::OptimizerTensor>> items;
  items.reserve(parameters.size());
  for (const nn::Parameter& p : parameters) {
    const Tensor grad = p.var.grad();
    if (!grad.defined()) continue;
    kernels::OptimizerTensor item;
    item.n = grad.numel();
    item.grad = grad.data();
    items.push_back(item);
  }
  return std::sqrt(kernels::grad_squared_norm(items));
}

double clip_gradient_norm(std::span<const nn::Parameter> parameters, double max_norm) {
  check_argument(max_norm > 0, "clip_gradient_norm", "expected a largest norm > 0, got {}", max_norm);
  const double norm = gradient_norm(parameters);
  if (std::isfinite(norm) && norm > max_norm) scale_gradients(parameters, max_norm / norm);
  return norm;
}

void scale_gradients(std::span<const nn::Parameter> parameters, double factor) {
  for (const nn::Parameter& p : parameters) {
    Tensor grad = p.var.grad();
    if (grad.defined()) kernels::scale(grad.numel(), static_cast<float>(factor), grad.data(), grad.data());
  }
}

LargestGradient largest_gradient(std::span<const nn::Parameter> parameters) {
  LargestGradient largest;
  for (const nn::Parameter& p : parameters) {
    const Tensor grad = p.var.grad();
    if (!grad.defined()) continue;
    const double magnitude = static_cast<double>(kernels::max_abs(grad.numel(), grad.data()));
    if (largest.name.empty() || !(magnitude <= largest.magnitude)) largest = {p.name, magnitude};
    if (std::isnan(magnitude)) break;
  }
  return largest;
}

}  // namespace fovea::optim
