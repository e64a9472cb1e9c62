#include "bindings.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea::python {

void bind_threads(nanobind::module_& m) {
  m.def("set_num_threads", &set_num_threads, nanobind::arg("n"));
  m.def("get_num_threads", &get_num_threads);
}

}  // namespace fovea::python
