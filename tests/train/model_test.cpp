#include "fovea/tasks/model.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <iostream>

#include "fovea/base/error.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/nn/initialization.hpp"
#include "fovea/train/train.hpp"
#include "tests/train/support.hpp"

namespace fovea {
namespace {

using test::Folder;
using test::recipe;

class TrainedModel : public testing::TestWithParam<const char*> {};

TEST_P(TrainedModel, LoadedPredictsOneByOneAsTogether) {
  const Folder folder;
  auto r = recipe(folder);
  r.set("model.kind", GetParam());
  r.set("train.epochs", int64_t{1});
  const auto result = train::train(r, {.out = folder.path() / "model"});
  const auto model = Model::load(result.folder);
  EXPECT_EQ(model.parameter_count(), result.parameters);
  const auto p = model.predict("one small violin");
  EXPECT_EQ(p.probabilities.size(), 3u);
  // A text's prediction does not depend on what else is asked with it, nor on being empty or unknown.
  const std::string_view texts[] = {"", "apple", "one small violin", "\xff\xfe never seen"};
  const auto many = model.predict(texts);
  // Products of another number of rows may round differently: a few units in the last place of logits around
  // one.
  for (size_t c = 0; c < 3; ++c) EXPECT_NEAR(many[2].probabilities[c], p.probabilities[c], 1e-5);
  for (const auto& one : many) {
    double total = 0;
    for (const float v : one.probabilities) total += static_cast<double>(v);
    EXPECT_NEAR(total, 1.0, 1e-5);
  }
}
INSTANTIATE_TEST_SUITE_P(Kinds, TrainedModel,
                         testing::Values("attention", "lstm", "cnn", "linear", "majority"));

TEST(Model, DamagedFilesAreNamed) {
  const Folder folder;
  auto r = recipe(folder);
  r.set("train.epochs", int64_t{1});
  train::train(r, {.out = folder.path() / "model"});
  for (const char* file : {"config.json", "model.safetensors", "tokenizer.json"}) {
    const auto path = folder.path() / "model" / file;
    const std::string good = formats::read_file(path);
    const auto expect_error = [&](const std::string& bytes) {
      test::write_file(path, bytes);
      try {
        Model::load(folder.path() / "model");
        ADD_FAILURE() << file << " of " << bytes.size() << " bytes was taken";
      } catch (const DataError& error) {
        EXPECT_NE(std::string(error.what()).find("model"), std::string::npos) << error.what();
      }
    };
    expect_error(good.substr(0, good.size() / 2));
    expect_error("");
    if (std::string(file) != "config.json") {  // tables with a checksum
      for (const size_t at : {good.size() / 3, good.size() / 2, good.size() - 3}) {
        std::string flipped = good;
        flipped[at] = static_cast<char>(flipped[at] ^ 4);
        expect_error(flipped);
      }
    }
    std::filesystem::remove(path);
    EXPECT_THROW(Model::load(folder.path() / "model"), DataError) << file;
    test::write_file(path, good);
  }
  EXPECT_NO_THROW(Model::load(folder.path() / "model"));
  EXPECT_THROW(Model::load(folder.path() / "nothing"), DataError);
}

TEST(Model, AnEnsembleIsLoadedAsItWasSaved) {
  const Folder folder;
  tasks::Classifier c;
  c.classes = {"a", "b"};
  const std::string_view texts[] = {"perl bindings for the library", "a small game of patience"};
  c.tokenizer = formats::train_tokenizer(texts, {.kind = formats::TokenizerKind::kWords, .vocab_size = 0});
  models::TextClassifierConfig config;
  config.vocab_size = c.tokenizer->vocab_size();
  config.classes = 2;
  config.ngrams = 2;
  config.ngram_buckets = 64;
  config.char_ngrams = 5;
  config.char_buckets = 128;
  config.members = 2;
  c.network = std::make_shared<models::TextEnsemble>(config, 1);
  c.save_description(folder.path());
  c.save_weights(folder.path());
  const std::string_view text[] = {"perl library of small bindings"};
  const auto model = Model::load(folder.path());
  EXPECT_EQ(model.predict(text[0]).probabilities, c.probabilities(text));
  EXPECT_EQ(model.parameter_count(), c.parameter_count());
}

TEST(Model, ATextOfTenMegabytesIsReadToItsFirstTokens) {
  const Folder folder;
  auto r = recipe(folder);
  r.set("train.epochs", int64_t{1});
  train::train(r, {.out = folder.path() / "model"});
  const auto model = Model::load(folder.path() / "model");
  std::string text;
  while (text.size() < 10 << 20) text += "violin of the ";
  EXPECT_EQ(model.predict(text).probabilities, model.predict(text.substr(0, 100000)).probabilities);
}

}  // namespace
}  // namespace fovea
