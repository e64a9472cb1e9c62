// Function: the recorded half of a differentiable operation — what it keeps, and its vector-Jacobian product.
//
// To add an operation (see docs/HACKING.md): a free function computes the value with kernels, and, if
// recording({…}), records a Function that saves only the tensors its backward needs:
//
//   class ScaleFunction final : public Function {   // y = αx;  dx = α dy
//    public:
//     ScaleFunction(float alpha) : alpha_(alpha) {}
//     const char* name() const override { return "scale"; }
//     void backward(Tensor dy) override {
//       auto [dx, accumulate] = target(0);
//       …
//     }
//   };
//   Var scale(const Var& x, float alpha) {
//     Tensor y = …;
//     return record<ScaleFunction>(std::move(y), {x}, alpha);
//   }
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "fovea/autograd/var.hpp"
#include "fovea/base/memory.hpp"

namespace fovea::autograd {

class Tape;

// Derive from it for an operation of your own; its tape owns it from record() on.
class Function {
 public:
  Function() = default;
  Function(const Function&) = delete;
  Function& operator=(const Function&) = delete;
  virtual ~Function();

  // For profiles and messages: the operation's own, of static storage.
  virtual const char* name() const = 0;
  // Adds this operation's contribution to each input that needs(i), given d loss / d output. Called once; the
  // function and what it saved are freed right after. dy may be shared: write to it only if dy.unique().
  virtual void backward(Tensor dy) = 0;
  // Whether output() gives the output's value anew, to the bit, from what this function keeps anyway, for
  // about the cost of reading it. Functions that read that value later then need not keep it.
  virtual bool remakes() const { return false; }
  // That value; asked only where remakes() is true, and only during the walk back.
  virtual Tensor output() { return {}; }

  // Functions live in the pool: a steady step allocates nothing from the system.
  static void* operator new(size_t bytes) { return pool_allocate(bytes); }
  static void operator delete(void* p, size_t bytes) noexcept { pool_free(p, bytes); }

 protected:
  // Whether input i (in the order of record's list) wants a gradient. Ask before anything below.
  bool needs(int i) const { return static_cast<bool>(inputs_[static_cast<size_t>(i)]); }
  // Whether nothing has arrived at input i yet and a tensor given to it would be adopted: then a gradient
  // made in place of a unique dy costs neither memory nor a pass.
  bool fresh(int i) const { return inputs_[static_cast<size_t>(i)]->fresh(); }
  // See Node::target and Node::give. Like fresh, only for inputs that needs(i).
  Node::Target target(int i) { return inputs_[static_cast<size_t>(i)]->target(); }
  // Hands over a whole contribution; std::move it, so that it can be adopted without a copy.
  void give(int i, Tensor contribution) { inputs_[static_cast<size_t>(i)]->give(std::move(contribution)); }

  // For an input's value that backward reads. Asked before the function is recorded: `value` itself, or
  // nothing where the input's own function remakes it. Then in backward, with what was kept:
  static Tensor kept(const Var& input, const Tensor& value);
  Tensor value_of(int i, const Tensor& kept) const;

 private:
  friend class Tape;
  std::vector<NodePtr, PoolAllocator<NodePtr>> inputs_;
  NodePtr output_;
  const Tape* tape_ = nullptr;
};

}  // namespace fovea::autograd
