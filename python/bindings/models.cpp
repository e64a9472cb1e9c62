// Trained models, their explanation, and training.
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

#include "bindings.hpp"
#include "fovea/base/error.hpp"
#include "fovea/explain/explain_model.hpp"
#include "fovea/models/kind.hpp"
#include "fovea/tasks/model.hpp"
#include "fovea/train/train.hpp"

namespace nb = nanobind;

namespace fovea::python {
namespace {

using Path = std::filesystem::path;

std::vector<Prediction> predict(const Model& model, const std::vector<std::string>& texts) {
  const nb::gil_scoped_release release;
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  return model.predict(views);
}

std::string generate(const Model& model, const std::string& prompt, int64_t max_tokens, double temperature,
                     int64_t top_k, double top_p, uint64_t seed) {
  const nb::gil_scoped_release release;
  tasks::GenerateOptions options;
  options.max_tokens = max_tokens;
  options.sampler = {temperature, top_k, top_p};
  options.seed = seed;
  return model.generate(prompt, options);
}

using Figures = std::vector<std::pair<std::string, double>>;

Figures figures_of(const tasks::Evaluation& evaluation) {
  Figures figures;
  for (const tasks::Figure& figure : evaluation.figures) figures.emplace_back(figure.name, figure.value);
  return figures;
}

Figures evaluate_file(const Model& model, const Path& file) {
  const nb::gil_scoped_release release;
  return figures_of(model.evaluate_file(file));
}

Figures evaluate(const Model& model, const std::vector<std::string>& texts,
                 const std::vector<std::string>& truths) {
  const nb::gil_scoped_release release;
  const std::vector<std::string_view> read(texts.begin(), texts.end()), classes(truths.begin(), truths.end());
  return figures_of(model.evaluate(read, classes));
}

// A page's data with the model that its attention is computed by.
struct Explanation {
  Model model;
  explain::PageData page;

  void save(const Path& file) const {
    const nb::gil_scoped_release release;
    explain::write_page(file.string(), page);
  }
  std::string html() const {
    const nb::gil_scoped_release release;
    return explain::render_page(page);
  }
};

Explanation explain_texts(const Model& model, const std::vector<std::pair<std::string, std::string>>& given) {
  const nb::gil_scoped_release release;
  std::vector<explain::ModelExample> examples;
  for (const auto& [text, truth] : given) examples.push_back({text, truth});
  return {model, explain::explain_model(model, examples)};
}

// Calls Python with each event, and asks it for signals, so that Ctrl-C stops the work between two steps.
class Watch : public ProgressSink {
 public:
  explicit Watch(nb::object callback) : callback_(std::move(callback)) {}
  void progress(const ProgressEvent& event) override {
    const nb::gil_scoped_acquire acquire;
    if (callback_.is_none() || failed()) return;
    nb::dict told;
    told["stage"] = std::string(event.stage);
    told["done"] = event.done;
    told["total"] = event.total;
    told["tokens"] = event.tokens;
    told["loss"] = event.loss;
    told["message"] = std::string(event.message);
    try {
      callback_(told);
    } catch (nb::python_error& error) {
      error.restore();  // raised when training has unwound
      failed_ = true;
    }
  }
  bool stop_requested() override {
    const nb::gil_scoped_acquire acquire;
    if (!failed_ && PyErr_CheckSignals() != 0) failed_ = true;
    return failed_;
  }
  bool failed() const { return failed_; }

 private:
  nb::object callback_;
  bool failed_ = false;
};

Model train_model(const Path& recipe_file, const Path& out, const std::vector<std::string>& changes,
                  bool resume, bool overwrite, nb::object progress) {
  Watch watch(std::move(progress));
  try {
    const nb::gil_scoped_release release;
    formats::Recipe recipe = formats::Recipe::load(recipe_file);
    for (const std::string& change : changes) recipe.set(change);
    train::train(recipe, {.out = out, .resume = resume, .overwrite = overwrite, .progress = &watch});
  } catch (const std::exception&) {
    if (watch.failed()) throw nb::python_error();  // what Python raised meanwhile
    throw;
  }
  const nb::gil_scoped_release release;
  return Model::load(out);
}

}  // namespace

void bind_models(nb::module_& m) {
  nb::class_<Prediction>(m, "Prediction")
      .def_ro("index", &Prediction::index)
      .def_ro("label", &Prediction::label)
      .def_ro("probability", &Prediction::probability)
      .def_ro("probabilities", &Prediction::probabilities)
      .def("__repr__", [](const Prediction& p) {
        return "Prediction('" + p.label + "', " + std::to_string(p.probability) + ")";
      });
  nb::class_<Explanation>(m, "Explanation").def("save", &Explanation::save).def("html", &Explanation::html);
  nb::class_<Model>(m, "Model")
      .def_static("load",
                  [](const Path& folder) {
                    const nb::gil_scoped_release release;
                    return Model::load(folder);
                  })
      .def_prop_ro("folder", [](const Model& model) { return model.folder(); })
      .def_prop_ro("verified", &Model::verified)
      .def_prop_ro("task", [](const Model& model) { return model.task(); })
      .def_prop_ro("kind", [](const Model& model) { return std::string(models::to_string(model.kind())); })
      .def_prop_ro("parameter_count", &Model::parameter_count)
      .def_prop_ro("labels", [](const Model& model) { return model.labels(); })
      .def("predict", &predict)
      .def("generate", &generate)
      .def("evaluate", &evaluate)
      .def("evaluate_file", &evaluate_file)
      .def("explain", &explain_texts);
  m.def("train", &train_model, nb::arg("recipe"), nb::arg("out"), nb::arg("changes"), nb::arg("resume"),
        nb::arg("overwrite"), nb::arg("progress").none());
}

}  // namespace fovea::python
