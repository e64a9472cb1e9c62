#include "fovea/tasks/evaluate.hpp"

#include "base/check.hpp"
#include "fovea/metrics/accuracy.hpp"
#include "fovea/metrics/calibration.hpp"
#include "fovea/metrics/classification_report.hpp"
#include "fovea/metrics/log_loss.hpp"
#include "fovea/metrics/precision_recall.hpp"

namespace fovea::tasks {

double Evaluation::figure(std::string_view name) const {
  std::string names;
  for (const auto& f : figures) {
    if (f.name == name) return f.value;
    names += (names.empty() ? "" : ", ") + f.name;
  }
  throw_argument("evaluation", "expected one of {}, got {}", names, name);
}

Evaluation evaluate_classes(std::vector<int32_t> truth, std::vector<float> probabilities,
                            std::vector<std::string> classes) {
  Evaluation e;
  e.examples = static_cast<int64_t>(truth.size());
  e.truth = std::move(truth);
  e.probabilities = std::move(probabilities);
  e.classes = std::move(classes);
  if (e.examples == 0) return e;
  const auto count = static_cast<int64_t>(e.classes.size());
  const auto predicted = metrics::predicted_classes(e.probabilities, count);
  const double accuracy = metrics::accuracy(e.truth, predicted);
  const double log_loss = metrics::log_loss(e.truth, e.probabilities, count);
  const auto macro =
      metrics::averaged(metrics::ConfusionMatrix(e.truth, predicted, count), metrics::Average::kMacro);
  e.figures = {{"accuracy", accuracy},
               {"macro_f1", macro.f1},
               {"log_loss", log_loss},
               {"calibration_error", metrics::calibration(e.truth, e.probabilities, count).expected_error}};
  e.score = accuracy - 0.01 * log_loss;
  return e;
}

}  // namespace fovea::tasks
