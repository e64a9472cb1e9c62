// Recipe keys that one kind of model may have to itself: under [kinds.lstm.train], learning_rate replaces
// train.learning_rate when model.kind is lstm, so that one recipe compares architectures each at its best.
#pragma once

#include <string>

#include "fovea/formats/recipe.hpp"
#include "fovea/models/kind.hpp"

namespace fovea::tasks {

class Keys {
 public:
  explicit Keys(const formats::Recipe& recipe)
      : recipe_(recipe),
        kind_(recipe.choice("model.kind", "attention", {"attention", "lstm", "cnn", "linear", "majority"})) {}

  models::ModelKind kind() const { return models::model_kind(kind_); }
  // The key to ask for: the kind's own where the recipe has it. Every kind's is asked for, so that the ones
  // of other kinds are not taken for misspelt.
  std::string operator()(const std::string& key) const {
    for (const char* other : {"attention", "lstm", "cnn", "linear", "majority"}) {
      if (other != kind_) recipe_.has("kinds." + std::string(other) + "." + key);
    }
    recipe_.has(key);
    const std::string own = "kinds." + kind_ + "." + key;
    return recipe_.has(own) ? own : key;
  }

 private:
  const formats::Recipe& recipe_;
  std::string kind_;
};

}  // namespace fovea::tasks
