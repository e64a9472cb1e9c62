// Module: something with named parameters. A module lists its parts in visit(), in a fixed order; names,
// counting, loading and saving, and the optimiser's list all follow from that one list.
//
// A module owns its parts by value. Copying a module shares its parameters (as copying a Var does). Modules
// hold no activations: forward functions take a Context and may run on several tapes one after another. Not
// thread-safe while training; forward passes without a tape may run side by side.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/nn/parameter.hpp"
#include "fovea/tensor/tensor.hpp"

namespace fovea::nn {

class Module;

// Walks over a module's parts and builds hierarchical names joined by dots.
class ModuleVisitor {
 public:
  virtual ~ModuleVisitor() = default;
  // What a module's visit() calls. An undefined parameter (a bias that is switched off) is skipped.
  void parameter(std::string_view name, autograd::Var& var, Decay decay = Decay::kYes);
  // A part, whose parameters are met as "name.theirs".
  void child(std::string_view name, Module& module);
  // A part of a list: "layers.3".
  void child(std::string_view name, size_t index, Module& module);

 protected:
  // Called once a parameter and name; a tied parameter is met under each of its names.
  virtual void found(const std::string& name, autograd::Var& var, Decay decay) = 0;

 private:
  std::string prefix_;
};

// A parameter's full name, such as "layers.0.attention.qkv.weight", and its value; as model.safetensors holds
// them.
struct NamedTensor {
  // Of the parameter, and its elements.
  std::string name;
  Tensor tensor;
};

// Derive from it, list the parts in visit(), and give it a forward of any shape: it is not virtual.
class Module {
 public:
  Module() = default;
  Module(const Module&) = default;
  Module(Module&&) = default;
  Module& operator=(const Module&) = default;
  Module& operator=(Module&&) = default;
  virtual ~Module() = default;

  // Reports own parameters and children, in a fixed order.
  virtual void visit(ModuleVisitor& visitor) = 0;

  // Every parameter once, in the order of visit(); a tied one under its first name.
  Parameters parameters();
  // The number of trainable elements, tied ones counted once.
  int64_t parameter_count();

  // The parameters' tensors (shared, not copied), for a file.
  std::vector<NamedTensor> state();
  // Copies values in by name. ArgumentError names what is missing, unknown or of another shape, before
  // anything is written. A tied parameter may come under any of its names.
  void load_state(const std::vector<NamedTensor>& tensors);
  // The same without copying: the parameters take the tensors' memory. For a module that nobody else shares
  // parameters with (a copy of it would keep the old values).
  void adopt_state(const std::vector<NamedTensor>& tensors);
};

}  // namespace fovea::nn
