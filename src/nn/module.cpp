#include "fovea/nn/module.hpp"

#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/check.hpp"

namespace fovea::nn {
namespace {

class Collector final : public ModuleVisitor {
 public:
  Parameters parameters;  // tied ones once for each name
 private:
  void found(const std::string& name, autograd::Var& var, Decay decay) override {
    parameters.push_back({name, var, decay});
  }
};

Parameters all_names(Module& module) {
  Collector collector;
  module.visit(collector);
  return std::move(collector.parameters);
}

}  // namespace

void ModuleVisitor::parameter(std::string_view name, autograd::Var& var, Decay decay) {
  if (var.defined()) found(prefix_ + std::string(name), var, decay);
}

void ModuleVisitor::child(std::string_view name, Module& module) {
  const size_t length = prefix_.size();
  prefix_.append(name).push_back('.');
  module.visit(*this);
  prefix_.resize(length);
}

void ModuleVisitor::child(std::string_view name, size_t index, Module& module) {
  child(fmt::format("{}.{}", name, index), module);
}

Parameters Module::parameters() {
  Parameters unique;
  std::unordered_set<const autograd::Node*> seen;
  for (Parameter& p : all_names(*this)) {
    if (p.var.requires_grad() && seen.insert(p.var.node().get()).second) unique.push_back(std::move(p));
  }
  return unique;
}

int64_t Module::parameter_count() {
  int64_t count = 0;
  for (const Parameter& p : parameters()) count += p.var.numel();
  return count;
}

std::vector<NamedTensor> Module::state() {
  std::vector<NamedTensor> tensors;
  for (const Parameter& p : parameters()) tensors.push_back({p.name, p.var.value()});
  return tensors;
}

namespace {

// For each parameter its tensor; throws before anything is written.
std::unordered_map<const autograd::Node*, const Tensor*> sources_of(Module& module,
                                                                    const std::vector<NamedTensor>& tensors) {
  std::unordered_map<std::string_view, const Tensor*> given;
  for (const NamedTensor& t : tensors) given.emplace(t.name, &t.tensor);
  const Parameters names = all_names(module);
  std::unordered_map<const autograd::Node*, const Tensor*> source;
  std::unordered_set<std::string_view> known;
  for (const Parameter& p : names) {
    known.insert(p.name);
    const auto found = given.find(p.name);
    if (found == given.end()) continue;
    const Tensor& tensor = *found->second;
    check_argument(
        tensor.defined() && tensor.shape() == p.var.shape() && tensor.dtype() == p.var.value().dtype(),
        "load_state", "expected {} of shape {} ({}), got {} ({})", p.name, to_string(p.var.shape()),
        to_string(p.var.value().dtype()), to_string(tensor.shape()), to_string(tensor.dtype()));
    source.emplace(p.var.node().get(), &tensor);
  }
  for (const NamedTensor& t : tensors) {
    check_argument(known.contains(t.name), "load_state", "expected only this module's parameters, got {}",
                   t.name);
  }
  for (const Parameter& p : module.parameters()) {
    check_argument(source.contains(p.var.node().get()), "load_state", "expected a tensor {}, got none",
                   p.name);
  }
  return source;
}

// Gives every parameter, under each of its names, its tensor.
class Adopter final : public ModuleVisitor {
 public:
  explicit Adopter(const std::unordered_map<const autograd::Node*, const Tensor*>& source)
      : source_(source) {}

 private:
  void found(const std::string&, autograd::Var& var, Decay) override {
    if (var.requires_grad()) var.value() = *source_.at(var.node().get());
  }
  const std::unordered_map<const autograd::Node*, const Tensor*>& source_;
};

}  // namespace

void Module::load_state(const std::vector<NamedTensor>& tensors) {
  const auto source = sources_of(*this, tensors);
  for (const Parameter& p : parameters()) {
    Tensor value = p.var.value();
    value.copy_from(*source.at(p.var.node().get()));
  }
}

void Module::adopt_state(const std::vector<NamedTensor>& tensors) {
  const auto source = sources_of(*this, tensors);
  Adopter adopter(source);
  visit(adopter);
}

}  // namespace fovea::nn
