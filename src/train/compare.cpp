#include "fovea/train/compare.hpp"

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/check.hpp"
#include "fovea/formats/folder_lock.hpp"
#include "fovea/metrics/classification_report.hpp"
#include "train/run_folder.hpp"

namespace fovea::train {
namespace {

const tasks::Evaluation& judged(const TrainResult& result) {
  return result.test.examples > 0 ? result.test : result.valid;
}

std::string seconds(double value) {
  return value < 10 ? fmt::format("{:.1f}", value) : fmt::format("{:.0f}", value);
}

std::string classification_table(std::span<const TrainResult> results) {
  std::string text =
      fmt::format("{:<10} {:>9} {:>17} {:>9} {:>17} {:>9} {:>8} {:>11}\n", "model", "accuracy",
                  "95 % interval", "macro-F1", "95 % interval", "log loss", "seconds", "parameters");
  std::vector<metrics::ClassificationReport> reports;
  double best_accuracy = 0, best_f1 = 0;
  for (const auto& r : results) {
    const auto& e = judged(r);
    reports.push_back(
        metrics::classification_report(e.truth, e.probabilities, static_cast<int64_t>(e.classes.size())));
    best_accuracy = std::max(best_accuracy, reports.back().accuracy);
    best_f1 = std::max(best_f1, reports.back().macro.f1);
  }
  for (size_t i = 0; i < results.size(); ++i) {
    const auto& m = reports[i];
    const auto percent = [](double v) { return fmt::format("{:.2f}", 100 * v); };
    const auto interval = [](const metrics::Interval& v) {
      return fmt::format("{:.2f} to {:.2f}", 100 * v.lower, 100 * v.upper);
    };
    text += fmt::format(
        "{:<10} {:>9} {:>17} {:>9} {:>17} {:>9.3f} {:>8} {:>11}\n", models::to_string(results[i].kind),
        percent(m.accuracy) + (m.accuracy == best_accuracy ? "*" : " "), interval(m.accuracy_interval),
        percent(m.macro.f1) + (m.macro.f1 == best_f1 ? "*" : " "), interval(m.macro_f1_interval), m.log_loss,
        seconds(results[i].seconds), results[i].parameters);
  }
  return text;
}

std::string figures_table(std::span<const TrainResult> results) {
  std::string text = fmt::format("{:<10}", "model");
  for (const auto& figure : judged(results[0]).figures) text += fmt::format(" {:>14}", figure.name);
  text += fmt::format(" {:>8} {:>11}\n", "seconds", "parameters");
  for (const auto& r : results) {
    text += fmt::format("{:<10}", models::to_string(r.kind));
    for (const auto& figure : judged(r).figures) text += fmt::format(" {:>14.4f}", figure.value);
    text += fmt::format(" {:>8} {:>11}\n", seconds(r.seconds), r.parameters);
  }
  return text;
}

}  // namespace

std::vector<TrainResult> compare(const formats::Recipe& recipe, std::span<const models::ModelKind> kinds,
                                 const TrainOptions& options) {
  check_argument(!kinds.empty(), "compare", "expected at least one kind of model, got none");
  check_argument(std::set(kinds.begin(), kinds.end()).size() == kinds.size(), "compare",
                 "expected each kind of model once, got one repeated");
  check_argument(!options.out.empty(), "compare",
                 "expected a folder for the models, got none; give --out DIR");
  // All recipes are read before the first model is trained: the last one's mistake must not cost the others'
  // time.
  std::vector<formats::Recipe> recipes;
  bool used = false;
  for (const auto kind : kinds) {
    formats::Recipe& one = recipes.emplace_back(recipe);
    one.set("model.kind", models::to_string(kind));
    check_recipe(one);
    used = used || in_use(options.out / models::to_string(kind));
  }
  check_argument(!options.resume || used, "compare",
                 "expected a folder with a run to continue, got {}; leave --resume out to begin one",
                 options.out.string());
  const formats::FolderLock lock(options.out);
  std::vector<TrainResult> results;
  for (size_t i = 0; i < recipes.size(); ++i) {
    TrainOptions own = options;
    own.out = options.out / models::to_string(kinds[i]);
    own.resume = options.resume && in_use(own.out);  // the run may have been stopped before this kind
    if (options.log != nullptr)
      options.log->log(LogLevel::kInfo, fmt::format("training {}", models::to_string(kinds[i])));
    results.push_back(train(recipes[i], own));
  }
  return results;
}

std::string comparison_table(std::span<const TrainResult> results) {
  if (results.empty()) return {};
  return judged(results[0]).classes.empty() ? figures_table(results) : classification_table(results);
}

std::string comparison_json(std::span<const TrainResult> results) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const auto& r : results) {
    nlohmann::ordered_json row = {{"kind", models::to_string(r.kind)},
                                  {"folder", r.folder.string()},
                                  {"parameters", r.parameters},
                                  {"seconds", r.seconds},
                                  {"steps", r.steps},
                                  {"examples", judged(r).examples}};
    for (const auto& figure : judged(r).figures) {
      row[figure.name] = std::isfinite(figure.value) ? nlohmann::ordered_json(figure.value)
                                                     : nlohmann::ordered_json(nullptr);
    }
    if (!judged(r).classes.empty()) {
      const auto& e = judged(r);
      const auto m =
          metrics::classification_report(e.truth, e.probabilities, static_cast<int64_t>(e.classes.size()));
      row["accuracy_interval"] = {m.accuracy_interval.lower, m.accuracy_interval.upper};
      row["macro_f1_interval"] = {m.macro_f1_interval.lower, m.macro_f1_interval.upper};
    }
    rows.push_back(row);
  }
  return nlohmann::ordered_json{{"models", rows}}.dump();
}

}  // namespace fovea::train
