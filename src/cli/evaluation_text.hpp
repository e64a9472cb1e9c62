// Figures of an evaluation, for people and for programs.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "fovea/metrics/classification_report.hpp"
#include "fovea/tasks/task.hpp"

namespace fovea::cli {

// "test        5,054 examples  accuracy 0.7905  macro_f1 0.7712 …"; nothing without figures.
std::string figures_text(std::string_view split, const tasks::Evaluation& evaluation);
// {"examples": …, "accuracy": …}; null without figures; a figure that is not finite is null.
nlohmann::ordered_json figures_json(const tasks::Evaluation& evaluation);

// The whole report: averages with 95 % intervals, then a line a class.
std::string report_text(const metrics::ClassificationReport& report, const std::vector<std::string>& classes);
nlohmann::ordered_json report_json(const metrics::ClassificationReport& report,
                                   const std::vector<std::string>& classes);

}  // namespace fovea::cli
