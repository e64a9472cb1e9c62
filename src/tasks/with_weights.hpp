// A network made of a configuration and a file of weights that may not fit it. Internal.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/check.hpp"
#include "fovea/formats/safetensors.hpp"
#include "fovea/nn/initialization.hpp"
#include "fovea/nn/module.hpp"

namespace fovea::tasks {

// DataError where a configuration wants at least `least` parameters and the file holds fewer: before the
// memory for them is asked for.
void check_sizes(double least, const formats::SafeTensors& weights, std::string_view where);

// DataError "where: …" for a configuration that no network has, or for other tensors than its own.
template <class Network, class Config>
std::shared_ptr<Network> with_weights(const Config& config, const formats::SafeTensors& weights,
                                      std::string_view where) {
  try {
    const nn::SkipInitialization later;  // every parameter is loaded below
    auto network = std::make_shared<Network>(config, 0);
    std::vector<nn::NamedTensor> state;
    state.reserve(weights.tensors.size());
    for (const auto& t : weights.tensors) state.push_back({t.name, t.tensor});
    network->adopt_state(state);
    return network;
  } catch (const ArgumentError& error) {
    throw_data(where, "expected the tensors of config.json's model: {}", error.what());
  }
}

}  // namespace fovea::tasks
