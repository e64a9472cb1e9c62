#include "train/folder.hpp"

#include <fmt/format.h>

#include <cmath>

#include "formats/json.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/paths.hpp"

namespace fovea::train {
namespace {

nlohmann::ordered_json figures_of(const tasks::Evaluation& evaluation) {
  nlohmann::ordered_json json;
  json["examples"] = evaluation.examples;
  for (const auto& figure : evaluation.figures) {
    json[figure.name] =
        std::isfinite(figure.value) ? nlohmann::ordered_json(figure.value) : nlohmann::ordered_json(nullptr);
  }
  return json;
}

}  // namespace

void write_metrics(const TrainResult& result, const std::filesystem::path& folder) {
  nlohmann::ordered_json json = {{"task", result.task},
                                 {"kind", models::to_string(result.kind)},
                                 {"steps", result.steps},
                                 {"best_step", result.best_step},
                                 {"parameters", result.parameters},
                                 {"seconds", result.seconds},
                                 {"peak_memory", result.peak_memory}};
  if (result.valid.examples > 0) json["valid"] = figures_of(result.valid);
  if (result.test.examples > 0) json["test"] = figures_of(result.test);
  formats::write_atomically(folder / "metrics.json", json.dump(2) + "\n");
}

void read_metrics(TrainResult& result) {
  const auto file = result.folder / "metrics.json";
  if (!formats::exists(file)) return;
  const auto json = formats::parse_json(formats::read_file(file, 1 << 20), file.string());
  // A file of an earlier version may lack one.
  const auto number = [&](const char* key, auto& value) {
    if (json.is_object() && json.contains(key)) {
      value = formats::json_member<std::remove_reference_t<decltype(value)>>(json, key, file.string());
    }
  };
  number("steps", result.steps);
  number("best_step", result.best_step);
  number("seconds", result.seconds);
  number("peak_memory", result.peak_memory);
}

void write_card(const TrainResult& result, const std::string& data_description,
                const std::filesystem::path& folder) {
  std::string text =
      fmt::format("# A {} model ({})\n\nTrained by Fovea: ", result.task, models::to_string(result.kind));
  if (result.steps > 0) text += fmt::format("{} steps, ", result.steps);  // else it was fitted
  text += fmt::format("{} parameters, {:.1f} s.\n\n", result.parameters, result.seconds);
  text += "## Data\n\n" + data_description + "\n## Results\n\n| split | examples |";
  const auto& columns = result.test.examples > 0 ? result.test : result.valid;
  std::string rule = "|---|---|";
  for (const auto& figure : columns.figures) {
    text += fmt::format(" {} |", figure.name);
    rule += "---|";
  }
  text += "\n" + rule + "\n";
  for (const auto& [name, evaluation] :
       {std::pair{"valid", &result.valid}, std::pair{"test", &result.test}}) {
    if (evaluation->examples == 0) continue;
    text += fmt::format("| {} | {} |", name, evaluation->examples);
    for (const auto& figure : evaluation->figures) text += fmt::format(" {:.4f} |", figure.value);
    text += "\n";
  }
  text +=
      "\nThe validation rows chose the weights; the test rows were read once, at the end.\n\n"
      "## Make it again\n\n    fovea train recipe.toml --out model\n\n"
      "## Limits\n\nThe model knows its training data only: check it on your own examples, group by group, "
      "before "
      "anything depends on it.\n";
  formats::write_atomically(folder / "card.md", text);
}

}  // namespace fovea::train
