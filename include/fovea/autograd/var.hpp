// Var: a tensor in a computation that may be differentiated. A handle of two parts: the value, and — where a
// gradient is wanted — a node that collects the gradient. Copying a Var shares both. Not thread-safe: one
// thread builds and differentiates a computation (its kernels use many).
#pragma once

#include <cstdint>
#include <utility>

#include "fovea/tensor/ragged.hpp"
#include "fovea/tensor/tensor.hpp"

namespace fovea::autograd {

class Function;
class Var;

// Where the gradient of one value is collected. Reference-counted by Var and by the functions that will add
// to it. Holds no value: an activation is freed as soon as nobody needs it for its own gradient.
class Node {
 public:
  const Shape& shape() const { return shape_; }      // of the value and of its gradient
  bool leaf() const { return leaf_; }                // a parameter: its gradient outlives the walk back
  bool fresh() const { return !leaf_ && !filled_; }  // give() would adopt

  // The gradient collected so far; undefined when nothing has arrived since the last clear.
  const Tensor& grad() const;

  // Where a function writes its contribution: a tensor of shape(), and whether to add to what stands there or
  // to overwrite (its content is then uninitialised).
  struct Target {
    Tensor grad;      // float32, of shape(); a handle on the node's own memory
    bool accumulate;  // true: add; false: overwrite all of it
  };
  // Whoever asks must write: from now on the gradient counts as filled.
  Target target();

  // Hands over a whole contribution. Adopted without a copy where nothing stood before, else added. One of
  // bf16 may be given to a value of bf16; it is widened before anything is added to it. ArgumentError for
  // another shape.
  void give(Tensor contribution);

  // Forgets the gradient. Its memory goes back to the pool: while activations are kept there need be none for
  // gradients, which come into being as those are freed.
  void clear();

 private:
  friend class Var;
  friend class Function;
  friend class Tape;
  friend class NodePtr;
  Node(const Shape& shape, bool leaf) : shape_(shape), leaf_(leaf) {}

  Tensor buffer_;
  Shape shape_;
  Function* source_ = nullptr;  // that computed the value, while it stands on its tape
  int64_t references_ = 0;
  bool leaf_;
  bool filled_ = false;
  bool retained_ = false;
};

// Intrusive handle to a Node from the pool; null means: no gradient wanted.
class NodePtr {
 public:
  NodePtr() = default;
  NodePtr(const NodePtr& other) noexcept : node_(other.node_) {
    if (node_ != nullptr) ++node_->references_;
  }
  NodePtr(NodePtr&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  NodePtr& operator=(const NodePtr& other) noexcept {
    NodePtr copy(other);
    std::swap(node_, copy.node_);
    return *this;
  }
  NodePtr& operator=(NodePtr&& other) noexcept {
    NodePtr taken(std::move(other));
    std::swap(node_, taken.node_);
    return *this;
  }
  ~NodePtr();
  // A new node, with this handle as the only one; `leaf` for a parameter.
  static NodePtr make(const Shape& shape, bool leaf);

  // The node, or null: dereferencing then is not checked.
  Node* get() const { return node_; }
  Node* operator->() const { return node_; }
  Node& operator*() const { return *node_; }
  explicit operator bool() const { return node_ != nullptr; }

 private:
  Node* node_ = nullptr;
};

// What every differentiable function takes and gives.
class Var {
 public:
  Var() = default;  // undefined
  // A constant: no gradient. Implicit, so that tensors can be given wherever a Var is taken.
  Var(Tensor value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor)
  // A result of a recorded function; for functions, not for users.
  Var(Tensor value, NodePtr node) : value_(std::move(value)), node_(std::move(node)) {}
  // A trainable leaf: its gradient is collected over backward passes until clear_grad().
  static Var parameter(Tensor value);

  // Whether there is a value: an undefined Var stands for "none" where a function takes an optional one.
  bool defined() const { return value_.defined(); }
  // The computed tensor, there as soon as the function has returned.
  const Tensor& value() const { return value_; }
  Tensor& value() { return value_; }  // writing to a parameter is the optimiser's business

  // As Tensor's, of the value.
  const Shape& shape() const { return value_.shape(); }
  int64_t dim(int i) const { return value_.dim(i); }
  int64_t numel() const { return value_.numel(); }

  // Whether a gradient is collected: for parameters, and for what a tape recorded from them.
  bool requires_grad() const { return static_cast<bool>(node_); }
  // Where it is collected; null for a constant. For functions.
  const NodePtr& node() const { return node_; }
  // After Tape::backward: d loss / d this, of shape(). Kept for parameters and for values with retain_grad();
  // undefined otherwise, and where no gradient flowed.
  Tensor grad() const { return node_ ? node_->grad() : Tensor{}; }
  void retain_grad();  // call before backward; ArgumentError on a constant
  // Forgets what was collected, as an optimiser's zero_grad() does; nothing on a constant.
  void clear_grad() {
    if (node_) node_->clear();
  }
  // The same value without a gradient.
  Var detach() const { return Var(value_); }

 private:
  Tensor value_;
  NodePtr node_;
};

using RaggedVar = BasicRagged<Var>;  // tokens [T, …] and offsets

}  // namespace fovea::autograd
