// Another instruction set within a scope.
#pragma once

#include "fovea/base/cpu.hpp"

namespace fovea::testing {

class UseIsa {
 public:
  explicit UseIsa(Isa isa) : before_(current_isa()) { set_isa(isa); }
  ~UseIsa() { set_isa(before_); }
  UseIsa(const UseIsa&) = delete;
  UseIsa& operator=(const UseIsa&) = delete;

 private:
  Isa before_;
};

}  // namespace fovea::testing
