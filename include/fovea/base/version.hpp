// Which Fovea this is.
#pragma once

namespace fovea {

// "0.1.0": as CMakeLists.txt states it. Models record it; semantic versioning.
const char* version();

}  // namespace fovea
