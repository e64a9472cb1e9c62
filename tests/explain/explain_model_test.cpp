#include "fovea/explain/explain_model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "fovea/data/table.hpp"
#include "fovea/train/train.hpp"
#include "tests/train/support.hpp"

namespace fovea::explain {
namespace {

class ExplainModel : public testing::TestWithParam<const char*> {};

TEST_P(ExplainModel, FillsAPageFromATrainedFolder) {
  const test::Folder folder;
  auto recipe = test::recipe(folder);
  recipe.set("model.kind", GetParam());
  recipe.set("train.epochs", int64_t{2});
  recipe.set("seed", int64_t{17});
  const auto result = train::train(recipe, {.out = folder.path() / "model"});
  const Model model = Model::load(result.folder);
  const std::string label = model.labels()[0];
  const PageData page =
      explain_model(model, {{"one small violin", label}, {"apple"}, {""}}, &result.valid, "valid");

  EXPECT_EQ(page.model.kind, GetParam());
  EXPECT_EQ(page.model.seed, 17U);
  EXPECT_EQ(page.model.hash.size(), 8U);
  EXPECT_EQ(page.model.parameters, result.parameters);
  ASSERT_EQ(page.examples.size(), 3U);
  EXPECT_EQ(page.examples[0].truth, label);
  const Prediction predicted = model.predict("one small violin");
  EXPECT_EQ(page.examples[0].prediction[0].name, predicted.label);
  EXPECT_NEAR(page.examples[0].prediction[0].probability, predicted.probability, 1e-5);
  EXPECT_EQ(page.examples[0].attention.layers > 0, std::string(GetParam()) == "attention");
  ASSERT_FALSE(page.examples[0].relevance.empty());
  for (const PageRelevance& r : page.examples[0].relevance) {
    EXPECT_EQ(r.values.size(), page.examples[0].tokens.size()) << r.name;
    for (const float v : r.values) EXPECT_TRUE(std::isfinite(v)) << r.name;
  }
  ASSERT_FALSE(page.quality.metrics.empty());
  EXPECT_EQ(page.quality.metrics[0].name, "accuracy");
  EXPECT_NEAR(page.quality.metrics[0].value, result.valid.figure("accuracy"), 1e-12);
  EXPECT_EQ(page.quality.classes.size(), model.labels().size());
  EXPECT_THAT(render_page(page), testing::HasSubstr("page-data"));

  // Without rows at hand the figures that training wrote are shown.
  const PageData saved = explain_model(model, {{"apple"}}, nullptr, "valid");
  ASSERT_FALSE(saved.quality.metrics.empty());
  EXPECT_NEAR(saved.quality.metrics[0].value, result.valid.figure(saved.quality.metrics[0].name), 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Kinds, ExplainModel,
                         testing::Values("attention", "lstm", "cnn", "linear", "majority"));

TEST(ExplainLanguageModel, FillsAPageFromATrainedFolder) {
  const test::Folder folder;
  std::string text;
  for (int i = 0; i < 200; ++i) text += i % 3 == 0 ? "the quiet marvel\n" : "until dawn they argued\n";
  test::write_file(folder.path() / "text.txt", text);
  auto recipe = formats::Recipe::parse("task = \"language-model\"\n", "recipe.toml");
  recipe.set("data.file", (folder.path() / "text.txt").string());
  recipe.set("tokenizer.kind", "characters");
  recipe.set("model.width", int64_t{16});
  recipe.set("model.heads", int64_t{2});
  recipe.set("model.layers", int64_t{2});
  recipe.set("model.context", int64_t{32});
  recipe.set("train.steps", int64_t{20});
  recipe.set("train.batch_tokens", int64_t{256});
  const auto result = train::train(recipe, {.out = folder.path() / "model"});
  const PageData page = explain_model(Model::load(result.folder), {{"until dawn they"}}, nullptr, "valid");
  EXPECT_EQ(page.model.task, "language-model");
  EXPECT_EQ(page.examples.at(0).attention.layers, 2);
  EXPECT_EQ(page.examples.at(0).next.size(), page.examples.at(0).tokens.size());
  ASSERT_FALSE(page.quality.metrics.empty());
  EXPECT_FALSE(page.quality.curves.empty());
  EXPECT_THAT(render_page(page), testing::HasSubstr("page-data"));
}

}  // namespace
}  // namespace fovea::explain
