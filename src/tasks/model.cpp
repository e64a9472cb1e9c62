#include "fovea/tasks/model.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "formats/json.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/manifest.hpp"
#include "fovea/formats/paths.hpp"
#include "fovea/formats/printable.hpp"
#include "fovea/tasks/evaluate.hpp"

namespace fovea {

namespace {

// Its number, -1 for none.
int32_t class_of(const std::vector<std::string>& classes, std::string_view name) {
  const auto found = std::find(classes.begin(), classes.end(), name);
  return found == classes.end() ? -1 : static_cast<int32_t>(found - classes.begin());
}

}  // namespace

Model Model::load(const std::filesystem::path& folder) {
  check_data(formats::is_folder(folder), folder.string(),
             "expected a model's folder, found {}; give the folder that fovea train wrote",
             formats::exists(folder) ? "a file" : "nothing");
  Model model = formats::read_model(folder, load_files);
  model.folder_ = folder;
  return model;
}

Model Model::load_files(const std::filesystem::path& files) {
  const auto path = files / "config.json";
  check_data(
      formats::exists(path), files.string(),
      "expected config.json in a model's folder, found none; train it first, or continue with --resume");
  // Before its task is believed; the loaders below check every file.
  formats::verify_file(files, "config.json");
  Model model;
  model.verified_ = formats::exists(files / formats::kManifestName);
  const auto json = formats::parse_json(formats::read_file(path, int64_t{1} << 26), path.string());
  model.task_ = formats::json_member<std::string>(json, "task", path.string());
  if (model.task_ == "language-model") {
    model.generator_ = std::make_shared<const tasks::TextGenerator>(tasks::TextGenerator::load(files));
    return model;
  }
  check_data(
      model.task_ == "text-classification", path.string(),
      "expected the task text-classification or language-model, found \"{}\"; it is of a later version",
      model.task_);
  model.classifier_ = std::make_shared<const tasks::Classifier>(tasks::Classifier::load(files));
  return model;
}

models::ModelKind Model::kind() const {
  return classifier_ ? classifier_->kind : language_model().network->config().kind;
}
int64_t Model::parameter_count() const {
  return classifier_ ? classifier_->parameter_count() : language_model().network->parameter_count();
}

const tasks::TextGenerator& Model::language_model() const {
  check_argument(generator_ != nullptr, "model", "expected a language model, got one for {}", task_);
  return *generator_;
}

const tasks::Classifier& Model::classifier() const {
  check_argument(classifier_ != nullptr, "model", "expected a text-classification model, got {}", task_);
  return *classifier_;
}

Prediction Model::predict(std::string_view text) const {
  return predict(std::span<const std::string_view>(&text, 1))[0];
}

std::vector<Prediction> Model::predict(std::span<const std::string_view> texts) const {
  const auto& c = classifier();
  const auto probabilities = c.probabilities(texts);
  std::vector<Prediction> predictions(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    auto& p = predictions[i];
    const auto row = std::span(probabilities).subspan(i * c.classes.size(), c.classes.size());
    p.probabilities.assign(row.begin(), row.end());
    p.index = static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
    p.label = c.classes[static_cast<size_t>(p.index)];
    p.probability = static_cast<double>(row[static_cast<size_t>(p.index)]);
  }
  return predictions;
}

tasks::Evaluation Model::evaluate(const data::Table& table, std::string_view text_column,
                                  std::string_view target_column) const {
  const auto& c = classifier();
  const auto texts = table.column(text_column.empty() ? std::string_view(c.text_column) : text_column);
  const auto targets =
      table.column(target_column.empty() ? std::string_view(c.target_column) : target_column);
  std::vector<int32_t> truth;
  for (size_t i = 0; i < targets.size(); ++i) {
    truth.push_back(class_of(c.classes, targets[i]));
    check_data(truth.back() >= 0, table.where(static_cast<int64_t>(i)),
               "expected one of the model's {} classes, found \"{}\"; remove the row, or train with it",
               c.classes.size(), formats::printable(targets[i], 60));
  }
  return tasks::evaluate_classes(std::move(truth), c.probabilities(texts), c.classes);
}

tasks::Evaluation Model::evaluate_file(const std::filesystem::path& file) const {
  data::ReadOptions options;
  options.wanted = {classifier().text_column, classifier().target_column};
  return evaluate(data::read_table(file, options).table);
}

tasks::Evaluation Model::evaluate(std::span<const std::string_view> texts,
                                  std::span<const std::string_view> truths) const {
  const auto& c = classifier();
  check_argument(texts.size() == truths.size(), "evaluate", "expected as many truths as texts, got {} and {}",
                 truths.size(), texts.size());
  std::vector<int32_t> truth;
  for (size_t i = 0; i < truths.size(); ++i) {
    truth.push_back(class_of(c.classes, truths[i]));
    check_argument(truth.back() >= 0, "evaluate", "expected one of the model's {} classes, got \"{}\" at {}",
                   c.classes.size(), formats::printable(truths[i], 60), i);
  }
  return tasks::evaluate_classes(std::move(truth), c.probabilities(texts), c.classes);
}

}  // namespace fovea
