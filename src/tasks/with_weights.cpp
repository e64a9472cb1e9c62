#include "tasks/with_weights.hpp"

namespace fovea::tasks {

void check_sizes(double least, const formats::SafeTensors& weights, std::string_view where) {
  double held = 0;
  for (const formats::NamedTensor& named : weights.tensors) held += static_cast<double>(named.tensor.numel());
  check_data(
      least <= held, where,
      "expected sizes of a model of {} parameters, as model.safetensors holds, found those of at least "
      "{}; copy the model's folder again",
      held, least);
}

}  // namespace fovea::tasks
