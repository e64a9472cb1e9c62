#include "optim/state.hpp"

#include <string>
#include <unordered_map>

#include "base/check.hpp"

namespace fovea::optim {

void load_tensors(std::string_view call, const std::vector<NamedTensor>& targets,
                  const std::vector<NamedTensor>& sources) {
  std::unordered_map<std::string_view, const Tensor*> by_name;
  for (const NamedTensor& source : sources) by_name.emplace(source.name, &source.tensor);
  for (const NamedTensor& target : targets) {
    const auto found = by_name.find(target.name);
    check_argument(found != by_name.end(), call, "expected a tensor {}, got none", target.name);
    check_argument(found->second->defined() && found->second->shape() == target.tensor.shape(), call,
                   "expected {} of shape {}, got {}", target.name, to_string(target.tensor.shape()),
                   to_string(found->second->shape()));
  }
  if (sources.size() != targets.size()) {
    std::unordered_map<std::string_view, bool> known;
    for (const NamedTensor& target : targets) known.emplace(target.name, true);
    for (const NamedTensor& source : sources) {
      check_argument(known.contains(source.name), call, "expected only this optimiser's tensors, got {}",
                     source.name);
    }
  }
  for (const NamedTensor& target : targets) {
    Tensor into = target.tensor;
    into.copy_from(*by_name.at(target.name));
  }
}

}  // namespace fovea::optim
