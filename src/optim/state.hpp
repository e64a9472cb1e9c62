// Loading named tensors into the ones that stand there.
#pragma once

#include <string_view>
#include <vector>

#include "fovea/optim/optimizer.hpp"

namespace fovea::optim {

// Copies each source into the target of its name. ArgumentError, before anything is written, names a target
// without source, a source without target, or two shapes that differ.
void load_tensors(std::string_view call, const std::vector<NamedTensor>& targets,
                  const std::vector<NamedTensor>& sources);

}  // namespace fovea::optim
