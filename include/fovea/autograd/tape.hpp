// Tape: the order in which operations were computed, and the walk back. Operations are recorded while a
// TapeScope is alive on this thread and one of their inputs wants a gradient; without a scope nothing is kept
// (inference).
//
//   Tape tape;
//   { TapeScope scope(tape);  loss = …; }
//   tape.backward(loss);       // gradients now stand in the parameters; the tape is empty again
#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "fovea/autograd/function.hpp"
#include "fovea/autograd/var.hpp"

namespace fovea::autograd {

// Told of each function that the walk back runs; for profiles, which bring their own clock.
class TapeObserver {
 public:
  virtual ~TapeObserver() = default;

  // Around the backward() of one function, by its name(), on the thread that walks.
  virtual void before_backward(const char* function) = 0;
  virtual void after_backward(const char* function) = 0;
};

// One thread records on a tape and walks it at a time.
class Tape {
 public:
  // d loss / d x for every recorded x, accumulated into the parameters. `seed` is d / d loss (for gradient
  // accumulation and loss scaling); the loss must have one element. Functions run in the reverse of the order
  // they were recorded in, and each is freed, with what it saved, as soon as it has run. ArgumentError if the
  // loss has several elements or was not recorded.
  void backward(const Var& loss, double seed = 1.0);
  // The vector-Jacobian product of any output; `dy` has its shape.
  void backward_from(const Var& output, Tensor dy);

  // Forgets what was recorded, and frees what it kept: a forward pass that will not be differentiated after
  // all.
  void clear() { functions_.clear(); }
  // Operations recorded and not yet walked or forgotten.
  size_t size() const { return functions_.size(); }
  // Null (the default) measures nothing. The observer must outlive its use.
  void set_observer(TapeObserver* observer) { observer_ = observer; }

  // For record() below.
  Var add(std::unique_ptr<Function> function, Tensor output, std::span<const Var> inputs);
  // The tape that records on this thread; null without a TapeScope.
  static Tape* current();

 private:
  friend class TapeScope;
  void run(Function& function);

  std::vector<std::unique_ptr<Function>> functions_;
  TapeObserver* observer_ = nullptr;
};

// Makes a tape the recording one of this thread; the one before resumes afterwards.
class TapeScope {
 public:
  // `tape` must outlive the scope.
  explicit TapeScope(Tape& tape);
  TapeScope(const TapeScope&) = delete;
  TapeScope& operator=(const TapeScope&) = delete;
  ~TapeScope();

 private:
  Tape* before_;
};

// Stops recording for a while: evaluation inside training, statistics.
class NoTape {
 public:
  NoTape();
  NoTape(const NoTape&) = delete;
  NoTape& operator=(const NoTape&) = delete;
  ~NoTape();

 private:
  Tape* before_;
};

// Whether an operation on these inputs would be recorded. Ask before saving anything.
inline bool recording(std::initializer_list<const Var*> inputs) {
  if (Tape::current() == nullptr) return false;
  for (const Var* v : inputs) {
    if (v->requires_grad()) return true;
  }
  return false;
}

// Wraps a computed output: a recorded Var with F(args…) as its derivative, or a constant where nothing
// records. F's input indices follow the order of `inputs`.
template <class F, class... Args>
Var record(Tensor output, std::initializer_list<Var> inputs, Args&&... args) {
  Tape* tape = Tape::current();
  bool wanted = false;
  if (tape != nullptr) {
    for (const Var& v : inputs) wanted = wanted || v.requires_grad();
  }
  if (!wanted) return Var(std::move(output));
  return tape->add(std::unique_ptr<Function>(new F(std::forward<Args>(args)...)), std::move(output),
                   std::span<const Var>(inputs.begin(), inputs.size()));
}

}  // namespace fovea::autograd
