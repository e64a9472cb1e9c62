// From a model's folder and some texts to the page's data: what `fovea explain` does.
//
//   const Model model = Model::load("model/");
//   write_page("page.html", explain_model(model, {{"Perl bindings for the C library", "perl"}}));
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fovea/explain/explain_text.hpp"
#include "fovea/explain/page.hpp"
#include "fovea/tasks/model.hpp"

namespace fovea::explain {

// A text to explain.
struct ModelExample {
  std::string text;     // as it was written
  std::string truth{};  // its label; empty when unknown
};

// Explains one text. Networks as explain_text says; the linear and the majority model by occlusion of words
// alone; a language model by what the text leads it to expect.
// DataError: a damaged file in the folder.
PageExample explain_example(const Model& model, const ModelExample& example,
                            const ExplainOptions& options = {});

// Explains each text, with what the folder tells of the model. Training curves come from the folder's
// metrics.jsonl, the seed from its recipe.toml, where they are there. Scores come from `held_back`
// (Model::evaluate on rows that training did not see), and from metrics.json without it. DataError: a damaged
// file in the folder.
PageData explain_model(const Model& model, const std::vector<ModelExample>& examples,
                       const tasks::Evaluation* held_back = nullptr, std::string_view split = "test",
                       const ExplainOptions& options = {});

}  // namespace fovea::explain
