#include "fovea/autograd/tape.hpp"

#include "base/check.hpp"

namespace fovea::autograd {
namespace {

Tape*& current_tape() {
  thread_local Tape* tape = nullptr;
  return tape;
}

}  // namespace

Function::~Function() {
  if (output_) output_->source_ = nullptr;
}

Tensor Function::kept(const Var& input, const Tensor& value) {
  const NodePtr& node = input.node();
  const bool remade =
      node && node->source_ != nullptr && node->source_->remakes() && node->source_->tape_ == Tape::current();
  return remade ? Tensor{} : value;
}

Tensor Function::value_of(int i, const Tensor& kept) const {
  // The input's function was recorded before this one on the same tape, so it stands there still.
  return kept.defined() ? kept : inputs_[static_cast<size_t>(i)]->source_->output();
}

Tape* Tape::current() {
  return current_tape();
}

Var Tape::add(std::unique_ptr<Function> function, Tensor output, std::span<const Var> inputs) {
  function->inputs_.reserve(inputs.size());
  for (const Var& v : inputs) function->inputs_.push_back(v.node());
  function->output_ = NodePtr::make(output.shape(), false);
  function->output_->source_ = function.get();
  function->tape_ = this;
  NodePtr node = function->output_;
  functions_.push_back(std::move(function));
  return Var(std::move(output), std::move(node));
}

void Tape::backward(const Var& loss, double seed) {
  check_argument(loss.defined() && loss.numel() == 1, "Tape.backward",
                 "expected a loss of one element, got shape {}",
                 loss.defined() ? to_string(loss.shape()) : "undefined");
  backward_from(loss, Tensor::full(loss.shape(), seed));
}

void Tape::backward_from(const Var& output, Tensor dy) {
  check_argument(output.requires_grad(), "Tape.backward",
                 "expected an output recorded on a tape; compute it inside a TapeScope, from parameters");
  output.node()->give(std::move(dy));
  const NoTape pause;
  while (!functions_.empty()) {
    const std::unique_ptr<Function> function = std::move(functions_.back());
    functions_.pop_back();
    if (!function->output_->filled_) continue;  // nothing that reached the output depends on it
    if (observer_ == nullptr) {
      run(*function);
      continue;
    }
    observer_->before_backward(function->name());
    run(*function);
    observer_->after_backward(function->name());
  }
}

void Tape::run(Function& function) {
  Node& node = *function.output_;
  if (node.retained_) {
    function.backward(node.buffer_);
    return;
  }
  Tensor grad = std::move(node.buffer_);
  node.clear();
  function.backward(std::move(grad));
}

TapeScope::TapeScope(Tape& tape) : before_(current_tape()) {
  current_tape() = &tape;
}
TapeScope::~TapeScope() {
  current_tape() = before_;
}
NoTape::NoTape() : before_(current_tape()) {
  current_tape() = nullptr;
}
NoTape::~NoTape() {
  current_tape() = before_;
}

}  // namespace fovea::autograd
