#include "fovea/explain/quality.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/check.hpp"
#include "fovea/metrics/classification_report.hpp"

namespace fovea::explain {
namespace {

using nlohmann::json;

void add_point(std::vector<PageCurve>& curves, const std::string& name, const std::string& split, double step,
               const json& value) {
  if (!value.is_number()) return;  // null: it was not finite
  auto at = std::find_if(curves.begin(), curves.end(),
                         [&](const PageCurve& c) { return c.name == name && c.split == split; });
  if (at == curves.end()) at = curves.insert(curves.end(), PageCurve{name, split, {}, {}});
  at->step.push_back(step);
  at->value.push_back(value.get<double>());
}

void thin(PageCurve& curve, int64_t points) {
  const size_t length = curve.step.size(), wanted = static_cast<size_t>(std::max<int64_t>(points, 1));
  if (length <= wanted) return;
  PageCurve thinned{curve.name, curve.split, {}, {}};
  for (size_t i = 0; i < wanted; ++i) {
    const size_t begin = i * length / wanted, end = (i + 1) * length / wanted;
    double sum = 0;
    for (size_t j = begin; j < end; ++j) sum += curve.value[j];
    thinned.step.push_back(curve.step[(begin + end - 1) / 2]);
    thinned.value.push_back(sum / static_cast<double>(end - begin));
  }
  curve = std::move(thinned);
}

}  // namespace

PageQuality classification_quality(std::span<const std::string> classes, std::span<const int32_t> truth,
                                   std::span<const float> probabilities, const std::string& split) {
  PageQuality quality;
  quality.split = split;
  if (truth.empty()) return quality;
  const auto count = static_cast<int64_t>(classes.size());
  const metrics::ClassificationReport report = metrics::classification_report(truth, probabilities, count);
  quality.metrics = {
      {"accuracy", report.accuracy, report.accuracy_interval.lower, report.accuracy_interval.upper},
      {"macro F1", report.macro.f1, report.macro_f1_interval.lower, report.macro_f1_interval.upper},
      {"log loss", report.log_loss, 0, 0},
      {"expected calibration error", report.calibration.expected_error, 0, 0},
  };
  for (size_t c = 0; c < classes.size(); ++c) {
    const metrics::PrecisionRecall& s = report.classes[c];
    quality.classes.push_back({classes[c], s.precision, s.recall, s.f1, s.support});
  }
  quality.confusion.assign(report.confusion.counts().begin(), report.confusion.counts().end());
  for (const metrics::CalibrationBin& bin : report.calibration.bins) {
    quality.calibration.push_back({bin.confidence, bin.accuracy, bin.count});
  }
  return quality;
}

std::vector<PageCurve> read_curves(const std::string& path, int64_t points) {
  std::vector<PageCurve> curves;
  std::ifstream file(path, std::ios::binary);
  std::string line;
  for (int64_t number = 1; std::getline(file, line); ++number) {
    if (line.empty()) continue;
    const json entry = json::parse(line, nullptr, false);
    if (entry.is_discarded() && file.peek() == std::char_traits<char>::eof()) break;
    check_data(entry.is_object() && entry.contains("step") && entry["step"].is_number(),
               fmt::format("{}:{}", path, number),
               "expected a JSON object with a step, found {}; train the model again",
               entry.is_discarded() ? "no JSON" : "other JSON");
    const double step = entry["step"].get<double>();
    for (const char* name : {"loss", "learning_rate"}) {
      if (entry.contains(name)) add_point(curves, name, "train", step, entry[name]);
    }
    if (entry.contains("validation") && entry["validation"].is_object()) {
      for (const auto& [name, value] : entry["validation"].items())
        add_point(curves, name, "validation", step, value);
    }
  }
  for (PageCurve& curve : curves) thin(curve, points);
  return curves;
}

}  // namespace fovea::explain
