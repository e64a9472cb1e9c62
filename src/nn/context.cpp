#include "fovea/nn/context.hpp"

namespace fovea::nn {

std::string Context::path() const {
  return innermost_ == nullptr ? std::string() : innermost_->path();
}

std::string LayerScope::path() const {
  std::string path = outer_ == nullptr ? std::string() : outer_->path() + ".";
  path += name_;
  if (index_ >= 0) path.append(".").append(std::to_string(index_));
  return path;
}

}  // namespace fovea::nn
