#include "fovea/autograd/var.hpp"

#include <new>

#include "base/check.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea::autograd {
namespace {

const Tensor& undefined() {
  static const Tensor none;
  return none;
}

}  // namespace

NodePtr::~NodePtr() {
  if (node_ == nullptr || --node_->references_ != 0) return;
  node_->~Node();
  pool_free(node_, sizeof(Node));
}

NodePtr NodePtr::make(const Shape& shape, bool leaf) {
  NodePtr p;
  p.node_ = new (pool_allocate(sizeof(Node))) Node(shape, leaf);
  p.node_->references_ = 1;
  return p;
}

const Tensor& Node::grad() const {
  return filled_ ? buffer_ : undefined();
}

Node::Target Node::target() {
  if (!filled_) {
    if (!buffer_.defined()) buffer_ = Tensor::empty(shape_);
    filled_ = true;
    return {buffer_, false};
  }
  if (buffer_.dtype() != DType::kF32) buffer_ = buffer_.to(DType::kF32);
  if (!leaf_ && !buffer_.unique()) buffer_ = buffer_.clone();  // adopted from a function that gave it twice
  return {buffer_, true};
}

void Node::give(Tensor contribution) {
  check_argument(contribution.shape() == shape_, "autograd", "expected a gradient of shape {}, got {}",
                 to_string(shape_), to_string(contribution.shape()));
  if (!filled_ && !leaf_) {
    buffer_ = std::move(contribution);
    filled_ = true;
    return;
  }
  if (contribution.dtype() != DType::kF32) contribution = contribution.to(DType::kF32);
  Target t = target();
  if (t.accumulate) {
    const float* add = contribution.data();
    float* sum = t.grad.data();
    parallel_for(shape_.numel(), 1 << 15, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) sum[i] += add[i];
    });
  } else {
    t.grad.copy_from(contribution);
  }
}

void Node::clear() {
  filled_ = false;
  buffer_ = Tensor{};
}

Var Var::parameter(Tensor value) {
  check_argument(value.defined(), "Var.parameter", "expected a defined tensor");
  NodePtr node = NodePtr::make(value.shape(), true);
  return Var(std::move(value), std::move(node));
}

void Var::retain_grad() {
  check_argument(requires_grad(), "Var.retain_grad",
                 "expected a value that wants a gradient, got a constant");
  node_->retained_ = true;
}

}  // namespace fovea::autograd
