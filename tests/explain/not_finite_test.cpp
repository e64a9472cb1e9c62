// Models with numbers that are not finite are refused by name, wherever they are used.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "fovea/base/error.hpp"
#include "fovea/data/table.hpp"
#include "fovea/explain/explain_model.hpp"
#include "fovea/formats/manifest.hpp"
#include "fovea/formats/safetensors.hpp"
#include "fovea/train/train.hpp"
#include "tests/train/support.hpp"

namespace fovea::explain {
namespace {

// Writes `value` into the last number of each float32 tensor, one file after the other, and calls `use`.
template <class Use>
void with_every_tensor_spoilt(const std::filesystem::path& folder, float value, Use use) {
  const auto path = folder / "model.safetensors";
  const formats::SafeTensors sound = formats::load_safetensors(path);
  for (size_t i = 0; i < sound.tensors.size(); ++i) {
    if (sound.tensors[i].tensor.dtype() != DType::kF32) continue;
    std::vector<formats::NamedTensor> spoilt = sound.tensors;
    spoilt[i].tensor = spoilt[i].tensor.clone();
    spoilt[i].tensor.span().back() = value;
    formats::save_safetensors(path, spoilt, sound.metadata);
    formats::accept_files(folder);  // or the manifest would name the file first
    use(sound.tensors[i].name);
  }
  formats::save_safetensors(path, sound.tensors, sound.metadata);
  formats::accept_files(folder);  // or the manifest would name the file first
}

template <class Call>
std::string data_error(Call call) {
  try {
    call();
  } catch (const DataError& error) {
    return error.what();
  }
  return "no DataError";
}

class NotFinite : public testing::TestWithParam<const char*> {
 protected:
  std::filesystem::path train_small() {
    auto recipe = test::recipe(folder_);
    recipe.set("model.kind", GetParam());
    recipe.set("train.epochs", int64_t{1});
    return train::train(recipe, {.out = folder_.path() / "model"}).folder;
  }
  test::Folder folder_;
};

TEST_P(NotFinite, WeightsAreNamedWithTheirFolder) {
  const auto folder = train_small();
  for (const float value : {std::nanf(""), -std::numeric_limits<float>::infinity()}) {
    with_every_tensor_spoilt(folder, value, [&](const std::string& name) {
      EXPECT_THAT(data_error([&] { Model::load(folder); }),
                  testing::AllOf(testing::HasSubstr(folder.string()), testing::HasSubstr("\"" + name + "\""),
                                 testing::HasSubstr("train the model again")));
    });
  }
  EXPECT_NO_THROW(Model::load(folder));
}

TEST_P(NotFinite, ScoresOfFiniteWeightsAreNamedToo) {
  const auto folder = train_small();
  // Weights so large that their products overflow, in every tensor at once.
  const auto path = folder / "model.safetensors";
  formats::SafeTensors weights = formats::load_safetensors(path);
  for (formats::NamedTensor& named : weights.tensors) {
    if (named.tensor.dtype() != DType::kF32) continue;
    named.tensor = named.tensor.clone();
    for (float& x : named.tensor.span()) x = x < 0 ? -3e38F : 3e38F;
  }
  formats::save_safetensors(path, weights.tensors, weights.metadata);
  formats::accept_files(folder);  // or the manifest would name the file first
  const Model model = Model::load(folder);
  const auto names_folder = testing::AllOf(testing::HasSubstr(folder.string() + ": expected finite scores"),
                                           testing::HasSubstr("train the model again"));
  const std::string text = "one small violin of the apple engine";
  EXPECT_THAT(data_error([&] { model.predict(text); }), names_folder);
  EXPECT_THAT(data_error([&] { explain_model(model, {{text}}); }), names_folder);
}

INSTANTIATE_TEST_SUITE_P(Kinds, NotFinite, testing::Values("attention", "lstm", "cnn", "linear"));

TEST(NotFiniteLanguageModel, IsNamedWithItsFolder) {
  const test::Folder folder;
  std::string text;
  for (int i = 0; i < 200; ++i) text += i % 3 == 0 ? "the quiet marvel\n" : "until dawn they argued\n";
  test::write_file(folder.path() / "text.txt", text);
  auto recipe = formats::Recipe::parse("task = \"language-model\"\n", "recipe.toml");
  recipe.set("data.file", (folder.path() / "text.txt").string());
  recipe.set("tokenizer.kind", "characters");
  recipe.set("model.width", int64_t{16});
  recipe.set("model.heads", int64_t{2});
  recipe.set("model.layers", int64_t{1});
  recipe.set("model.context", int64_t{32});
  recipe.set("train.steps", int64_t{2});
  recipe.set("train.batch_tokens", int64_t{256});
  const auto model = train::train(recipe, {.out = folder.path() / "model"}).folder;
  with_every_tensor_spoilt(model, std::nanf(""), [&](const std::string& name) {
    EXPECT_THAT(data_error([&] { Model::load(model); }),
                testing::AllOf(testing::HasSubstr(model.string()), testing::HasSubstr("\"" + name + "\"")));
  });
  const Model sound = Model::load(model);
  const tasks::TextGenerator& generator = sound.language_model();
  for (const nn::Parameter& p : generator.network->parameters()) {
    autograd::Var var = p.var;
    Tensor weights = var.value();
    for (float& x : weights.span()) x = 3e38F;
  }
  const auto names_folder = testing::HasSubstr(model.string() + ": expected finite scores");
  EXPECT_THAT(data_error([&] { generator.generate("the quiet"); }), names_folder);
  EXPECT_THAT(data_error([&] { generator.likelihood(generator.tokenizer->encode_ids("the quiet")); }),
              names_folder);
  EXPECT_THAT(data_error([&] { explain_model(sound, {{"the quiet"}}); }), names_folder);
}

}  // namespace
}  // namespace fovea::explain
