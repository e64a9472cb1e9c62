// What the files of this folder share: each adds its part to the module.
#pragma once

#include <nanobind/nanobind.h>

namespace fovea::python {

void bind_attention(nanobind::module_& m);
void bind_block_mask(nanobind::module_& m);
void bind_decode(nanobind::module_& m);
void bind_merge(nanobind::module_& m);
void bind_models(nanobind::module_& m);
void bind_rotary(nanobind::module_& m);
void bind_threads(nanobind::module_& m);

}  // namespace fovea::python
