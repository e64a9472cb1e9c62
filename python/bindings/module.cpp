// fovea._fovea: the engine as Python's package sees it. Bindings convert types and release the GIL; arguments
// are put in order by python/fovea, checked by the engine.
#include <exception>
#include <filesystem>
#include <new>
#include <stdexcept>

#include "bindings.hpp"
#include "fovea/base/error.hpp"
#include "fovea/base/version.hpp"
#include "fovea/formats/paths.hpp"

NB_MODULE(_fovea, m) {
  // At exit, caches of other packages (torch.compile's guards) may still hold objects of ours.
  nanobind::set_leak_warnings(false);
  m.doc() = "Fovea's engine. Use the package fovea; this module is its inside.";
  // The last word on what the standard library throws, whose texts are for C++'s programmers.
  nanobind::register_exception_translator([](const std::exception_ptr& thrown, void*) {
    try {
      std::rethrow_exception(thrown);
    } catch (const std::bad_alloc&) {
      PyErr_SetString(PyExc_MemoryError, "expected enough memory, the system refused");
    } catch (const std::length_error&) {
      PyErr_SetString(PyExc_MemoryError, "expected sizes that fit the memory, found larger ones");
    }
  });
  nanobind::exception<fovea::DataError> data_error(m, "DataError", PyExc_RuntimeError);
  data_error.attr("__doc__") =
      "A file that cannot be used: a model, a recipe, a table. The message names the file, with its line\n"
      "where there is one, what was expected, what was found, and what to do. A wrong call is a\n"
      "ValueError instead.";
  nanobind::register_exception_translator(
      [](const std::exception_ptr& thrown, void* type) {
        try {
          std::rethrow_exception(thrown);
        } catch (const std::filesystem::filesystem_error& error) {
          PyErr_SetString(static_cast<PyObject*>(type), fovea::formats::in_our_words(error).what());
        }
      },
      data_error.ptr());
  m.def("version", [] { return fovea::version(); });
  fovea::python::bind_threads(m);
  fovea::python::bind_block_mask(m);
  fovea::python::bind_attention(m);
  fovea::python::bind_decode(m);
  fovea::python::bind_merge(m);
  fovea::python::bind_rotary(m);
  fovea::python::bind_models(m);
}
