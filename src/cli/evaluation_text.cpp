#include "cli/evaluation_text.hpp"

#include <fmt/format.h>

#include <cmath>

#include "cli/text.hpp"
#include "fovea/formats/printable.hpp"

namespace fovea::cli {
namespace {

using nlohmann::ordered_json;

std::string interval_text(const metrics::Interval& interval) {
  return fmt::format("{} to {}", percent(interval.lower), percent(interval.upper));
}

ordered_json scores_json(const metrics::PrecisionRecall& scores) {
  return {{"precision", scores.precision},
          {"recall", scores.recall},
          {"f1", scores.f1},
          {"support", scores.support}};
}

}  // namespace

std::string figures_text(std::string_view split, const tasks::Evaluation& evaluation) {
  if (evaluation.figures.empty()) return {};
  std::string text = fmt::format("{:<11} {} examples", split, with_commas(evaluation.examples));
  for (const tasks::Figure& figure : evaluation.figures)
    text += fmt::format("  {} {:.4f}", figure.name, figure.value);
  return text + "\n";
}

ordered_json figures_json(const tasks::Evaluation& evaluation) {
  if (evaluation.figures.empty()) return nullptr;
  ordered_json json{{"examples", evaluation.examples}};
  for (const tasks::Figure& figure : evaluation.figures) {
    json[figure.name] = std::isfinite(figure.value) ? ordered_json(figure.value) : ordered_json(nullptr);
  }
  return json;
}

std::string report_text(const metrics::ClassificationReport& report,
                        const std::vector<std::string>& classes) {
  std::string text = fmt::format("{} examples, {} classes\n", with_commas(report.examples), classes.size());
  text += fmt::format("accuracy           {} %   95 % interval {}\n", percent(report.accuracy),
                      interval_text(report.accuracy_interval));
  text += fmt::format("macro-F1           {} %   95 % interval {}\n", percent(report.macro.f1),
                      interval_text(report.macro_f1_interval));
  text += fmt::format("weighted F1        {} %\n", percent(report.weighted.f1));
  text += fmt::format("log loss           {:.4f} nats\n", report.log_loss);
  text += fmt::format("calibration error  {} % (15 bins of equal width)\n\n",
                      percent(report.calibration.expected_error));
  TextTable table({"class", "precision", "recall", "F1", "examples"});
  for (size_t c = 0; c < classes.size(); ++c) {
    const metrics::PrecisionRecall& scores = report.classes[c];
    table.add({formats::printable(classes[c], 40), percent(scores.precision), percent(scores.recall),
               percent(scores.f1), with_commas(scores.support)});
  }
  return text + table.to_text();
}

ordered_json report_json(const metrics::ClassificationReport& report,
                         const std::vector<std::string>& classes) {
  ordered_json per_class = ordered_json::object();
  for (size_t c = 0; c < classes.size(); ++c) per_class[classes[c]] = scores_json(report.classes[c]);
  ordered_json confusion = ordered_json::array();
  for (int64_t truth = 0; truth < report.confusion.classes(); ++truth) {
    ordered_json row = ordered_json::array();
    for (int64_t c = 0; c < report.confusion.classes(); ++c) row.push_back(report.confusion.count(truth, c));
    confusion.push_back(row);
  }
  return {{"examples", report.examples},
          {"accuracy", report.accuracy},
          {"accuracy_interval", {report.accuracy_interval.lower, report.accuracy_interval.upper}},
          {"micro", scores_json(report.micro)},
          {"macro", scores_json(report.macro)},
          {"macro_f1_interval", {report.macro_f1_interval.lower, report.macro_f1_interval.upper}},
          {"weighted", scores_json(report.weighted)},
          {"log_loss", report.log_loss},
          {"calibration_error", report.calibration.expected_error},
          {"classes", per_class},
          {"confusion", confusion}};
}

}  // namespace fovea::cli
