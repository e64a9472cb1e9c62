#include "fovea/explain/explain_model.hpp"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/check.hpp"
#include "fovea/base/cpu.hpp"
#include "fovea/explain/quality.hpp"
#include "fovea/explain/relevance.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/paths.hpp"
#include "fovea/formats/recipe.hpp"
#include "fovea/formats/utf8.hpp"
#include "fovea/formats/words.hpp"

namespace fovea::explain {
namespace {

namespace fs = std::filesystem;

// Words with the blanks before them, for models that know no tokens. Blanks at the end are left out.
std::vector<PageToken> words_of(std::string_view text) {
  std::vector<PageToken> words;
  const auto size = static_cast<int64_t>(text.size());
  int64_t shown = 0;  // where the text of the present word begins, with the blanks
  int64_t begin = -1;
  const auto close = [&](int64_t end) {
    if (begin < 0) return;
    words.push_back({std::string(text.substr(static_cast<size_t>(shown), static_cast<size_t>(end - shown))),
                     static_cast<int64_t>(words.size()), begin, end});
    shown = end;
    begin = -1;
  };
  for (int64_t at = 0; at < size;) {
    const formats::CodePoint point = formats::decode_utf8(text, at);
    if (formats::is_white_space(point.value)) {
      close(at);
    } else if (begin < 0) {
      begin = at;
    }
    at += point.length;
  }
  close(size);
  return words;
}

PageExample explain_words(const tasks::Classifier& classifier, std::string_view text,
                          const ExplainOptions& options) {
  PageExample example;
  example.text = std::string(text);
  example.truth = options.truth;
  example.tokens = words_of(text);
  const size_t classes = classifier.classes.size();
  const std::vector<float> p = classifier.probabilities({&text, 1});
  std::vector<size_t> order(classes);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] > p[b]; });
  for (size_t i = 0; i < classes && i < static_cast<size_t>(options.candidates); ++i) {
    example.prediction.push_back({classifier.classes[order[i]], static_cast<double>(p[order[i]])});
  }
  if (!options.occlusion || example.tokens.empty()) return example;
  std::vector<int64_t> groups(example.tokens.size());
  std::iota(groups.begin(), groups.end(), int64_t{0});
  const auto score = [&](std::span<const std::vector<int64_t>> kept, std::span<double> out) {
    std::vector<std::string> variants;
    for (const std::vector<int64_t>& words : kept) {
      std::string& variant = variants.emplace_back();
      for (const int64_t w : words) variant += example.tokens[static_cast<size_t>(w)].text;
    }
    const std::vector<std::string_view> views(variants.begin(), variants.end());
    const std::vector<float> all = classifier.probabilities(views);
    for (size_t v = 0; v < out.size(); ++v) out[v] = static_cast<double>(all[v * classes + order[0]]);
  };
  example.relevance.push_back(
      {"occlusion",
       "Fall of the probability of " + classifier.classes[order[0]] + " when the word is left out.",
       occlusion(groups, score)});
  return example;
}

// The figures of metrics.json, without intervals. An older folder may lack the file.
PageQuality saved_quality(const fs::path& folder, std::string_view split) {
  PageQuality quality;
  quality.split = std::string(split);
  const fs::path path = folder / "metrics.json";
  if (!formats::exists(path)) return quality;
  const auto json = nlohmann::json::parse(formats::read_file(path, int64_t{1} << 24), nullptr, false);
  check_data(json.is_object(), path.string(),
             "expected a JSON object, found something else; evaluate the model again");
  const std::string name(split);
  if (!json.contains(name) || !json[name].is_object()) return quality;
  for (const auto& [figure, value] : json[name].items()) {
    if (value.is_number() && figure != "examples")
      quality.metrics.push_back({figure, value.get<double>(), 0, 0});
  }
  return quality;
}

PageModel page_model(const Model& model) {
  PageModel page;
  page.name = model.folder().string();
  page.kind = models::to_string(model.kind());
  page.task = model.task();
  page.parameters = model.parameter_count();
  page.isa = to_string(current_isa());
  page.kernel = model.kind() == models::ModelKind::kAttention ? "fused attention" : "";
  const fs::path weights = model.folder() / "model.safetensors", recipe = model.folder() / "recipe.toml";
  if (formats::exists(weights))
    page.hash = fmt::format("{:08x}", formats::crc32c(formats::read_file(weights)));
  if (formats::exists(recipe))
    page.seed = static_cast<uint64_t>(formats::Recipe::load(recipe).integer("seed", 1));
  return page;
}

std::string title_of(const fs::path& folder, const std::string& task) {
  fs::path name = folder.lexically_normal();
  if (name.filename().empty()) name = name.parent_path();
  return fmt::format("{} · {}", name.filename().string(), task);
}

}  // namespace

PageExample explain_example(const Model& model, const ModelExample& example, const ExplainOptions& options) {
  ExplainOptions each = options;
  each.truth = example.truth;
  each.folder = model.folder();
  if (model.task() == "language-model") {
    const tasks::TextGenerator& generator = model.language_model();
    return explain_text(*generator.network, *generator.tokenizer, example.text, each);
  }
  const tasks::Classifier& classifier = model.classifier();
  return classifier.network ? explain_text(*classifier.network, *classifier.tokenizer, classifier.classes,
                                           example.text, each)
                            : explain_words(classifier, example.text, each);
}

PageData explain_model(const Model& model, const std::vector<ModelExample>& examples,
                       const tasks::Evaluation* held_back, std::string_view split,
                       const ExplainOptions& options) {
  PageData data;
  data.model = page_model(model);
  data.title = title_of(model.folder(), model.task());
  for (const ModelExample& example : examples) {
    data.examples.push_back(explain_example(model, example, options));
  }
  data.quality = held_back != nullptr && !held_back->truth.empty()
                     ? classification_quality(held_back->classes, held_back->truth, held_back->probabilities,
                                              std::string(split))
                     : saved_quality(model.folder(), split);
  data.quality.curves = read_curves((model.folder() / "metrics.jsonl").string());
  return data;
}

}  // namespace fovea::explain
