#include "fovea/formats/recipe.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "fovea/base/error.hpp"

namespace fovea::formats {
namespace {

constexpr const char* kText = R"(task = "text-classification"
seed = 7

[model]
kind = "attention"   # or lstm
width = 128
dropout = 0.1
layers = [1, 2, 3]
rates = [1, 0.5]

[data]
train = "train.csv"
text = ["title", "body"]
shuffle = true
)";

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

TEST(Recipe, AnswersByTypeAndDefault) {
  const Recipe recipe = Recipe::parse(kText, "r.toml");
  EXPECT_EQ(recipe.text("task", ""), "text-classification");
  EXPECT_EQ(recipe.integer("seed", 1), 7);
  EXPECT_EQ(recipe.integer("model.width", 1), 128);
  EXPECT_EQ(recipe.number("model.dropout", 0.5), 0.1);
  EXPECT_EQ(recipe.number("model.width", 0.5), 128.0);
  EXPECT_EQ(recipe.boolean("data.shuffle", false), true);
  EXPECT_EQ(recipe.integer("model.heads", 4), 4);
  EXPECT_THAT(recipe.integers("model.layers", {}), testing::ElementsAre(1, 2, 3));
  EXPECT_THAT(recipe.numbers("model.rates", {}), testing::ElementsAre(1.0, 0.5));
  EXPECT_THAT(recipe.texts("data.text", {"text"}), testing::ElementsAre("title", "body"));
  EXPECT_THAT(recipe.texts("data.other", {"text"}), testing::ElementsAre("text"));
  EXPECT_THAT(recipe.keys("model"), testing::ElementsAre("kind", "width", "dropout", "layers", "rates"));
  EXPECT_THAT(recipe.keys("nothing"), testing::IsEmpty());
  EXPECT_EQ(recipe.choice("model.kind", "attention", {"attention", "lstm"}), "attention");
  EXPECT_TRUE(recipe.has("data.train"));
  EXPECT_FALSE(recipe.has("data.test"));
  EXPECT_EQ(recipe.required_text("data.train"), "train.csv");
  EXPECT_EQ(error_of([&] { recipe.check_unread(); }), "");
}

TEST(Recipe, WrongTypesNameFileLineAndKey) {
  const Recipe recipe = Recipe::parse(kText, "r.toml");
  EXPECT_EQ(error_of([&] { recipe.integer("model.kind", 1); }),
            "r.toml:5: model.kind: expected an integer, found text");
  EXPECT_EQ(error_of([&] { recipe.integer("model.dropout", 1); }),
            "r.toml:7: model.dropout: expected an integer, found a fraction");
  EXPECT_EQ(error_of([&] { recipe.text("model", ""); }), "r.toml:4: model: expected text, found a table");
  EXPECT_EQ(error_of([&] { recipe.texts("task", {}); }), "r.toml:1: task: expected a list, found text");
  EXPECT_EQ(error_of([&] { recipe.texts("model.layers", {}); }),
            "r.toml:8: model.layers: expected a list of text only, found an integer");
  EXPECT_EQ(error_of([&] { recipe.integer("model.width", 64, 1, 100); }),
            "r.toml:6: model.width: expected 1 to 100, found 128");
  EXPECT_EQ(error_of([&] { recipe.number("model.dropout", 0, 0.5, 1.0); }),
            "r.toml:7: model.dropout: expected 0.5 to 1, found 0.1");
  EXPECT_EQ(error_of([&] {
              recipe.choice("model.kind", "lstm", {"atention", "lstm"});
            }),
            "r.toml:5: model.kind: expected one of atention, lstm, found \"attention\"; did you mean "
            "\"atention\"?");
  EXPECT_EQ(
      error_of([&] { recipe.required_text("data.test"); }),
      "r.toml: expected a value for data.test, found none; add it to the recipe or give --set data.test=…");
}

TEST(Recipe, MisspeltKeySuggestsTheNearest) {
  const Recipe recipe = Recipe::parse("seed = 1\n[model]\nkind = \"lstm\"\nwidht = 3\n", "r.toml");
  recipe.integer("seed", 1);
  recipe.text("model.kind", "");
  recipe.integer("model.width", 1);
  EXPECT_EQ(error_of([&] { recipe.check_unread(); }),
            "r.toml:4: unknown key \"model.widht\"; did you mean \"model.width\"?");
}

TEST(Recipe, UnknownKeyWithoutANearOne) {
  const Recipe recipe = Recipe::parse("frobnicate = 1\n", "r.toml");
  recipe.integer("seed", 1);
  EXPECT_THAT(error_of([&] { recipe.check_unread(); }),
              testing::StartsWith("r.toml:1: unknown key \"frobnicate\"; nothing reads it"));
}

TEST(Recipe, OverridesWinAndAreNamed) {
  Recipe recipe = Recipe::parse(kText, "r.toml");
  recipe.set("model.width=256");
  recipe.set("model.kind = lstm");
  recipe.set("new.table.key=[1,2]");
  recipe.set("data.note=a = b");
  recipe.set("model.dropout", 0.25);
  EXPECT_EQ(recipe.integer("model.width", 1), 256);
  EXPECT_EQ(recipe.text("model.kind", ""), "lstm");
  EXPECT_THAT(recipe.integers("new.table.key", {}), testing::ElementsAre(1, 2));
  EXPECT_EQ(recipe.text("data.note", ""), "a = b");
  EXPECT_EQ(recipe.number("model.dropout", 0), 0.25);
  recipe.set("model.kind=3");
  EXPECT_EQ(error_of([&] { recipe.text("model.kind", ""); }),
            "--set model.kind: expected text, found an integer");
  EXPECT_EQ(error_of([&] { recipe.set("novalue"); }), "[--set] expected key=value, got \"novalue\"");
  EXPECT_EQ(error_of([&] { recipe.set("a..b=1"); }),
            "[--set] expected a key such as model.width, got \"a..b\"");
  EXPECT_EQ(error_of([&] { recipe.set("model.width.x=1"); }),
            "[--set] expected a table on the way to \"model.width.x\", got a value");
  recipe.set("sede=1");
  EXPECT_THAT(error_of([&] {
                recipe.integer("seed", 1);
                recipe.text("task", "");
                recipe.check_unread();
              }),
              testing::HasSubstr("unknown key \"sede\"; did you mean \"seed\"?"));
}

TEST(Recipe, WrittenAndReadIsTheSame) {
  Recipe recipe = Recipe::parse(kText, "r.toml");
  recipe.set("optimizer.rate", 1.0 / 3.0);
  recipe.set("note", "two\nlines \"quoted\" ü");
  const std::string toml = recipe.to_toml();
  const Recipe again = Recipe::parse(toml, "again.toml");
  EXPECT_EQ(again.to_toml(), toml);
  EXPECT_EQ(again.number("optimizer.rate", 0), 1.0 / 3.0);
  EXPECT_EQ(again.text("note", ""), "two\nlines \"quoted\" ü");
  EXPECT_EQ(again.number("model.dropout", 0), 0.1);
}

TEST(Recipe, DefaultsThatWereAskedForCanBeWritten) {
  const Recipe recipe = Recipe::parse("[model]\nwidth = 3\n", "r.toml");
  recipe.integer("model.width", 1);
  recipe.integer("model.heads", 4);
  recipe.number("train.rate", 1e-3);
  recipe.texts("data.text", {"text"});
  const Recipe again = Recipe::parse(recipe.to_toml(Recipe::Defaults::kWrite), "again.toml");
  EXPECT_EQ(again.integer("model.width", 0), 3);
  EXPECT_EQ(again.integer("model.heads", 0), 4);
  EXPECT_EQ(again.number("train.rate", 0), 1e-3);
  EXPECT_THAT(again.texts("data.text", {}), testing::ElementsAre("text"));
  EXPECT_EQ(Recipe::parse(recipe.to_toml(), "again.toml").has("model.heads"), false);
}

// Found by the fuzzer: the library writes a key that holds a tab without quotes, and reads it back without
// the tab.
TEST(Recipe, KeysNeedNoQuotes) {
  EXPECT_EQ(error_of([] { Recipe::parse("a = 1\n[t]\n\"x.y\" = 2\n", "r.toml"); }),
            "r.toml:3: expected keys of letters, digits, '_' and '-', found \"x.y\"");
  EXPECT_NE(error_of([] { Recipe::parse("\"\\tb\" = 2\n", "r.toml"); }), "");
  Recipe recipe;
  EXPECT_THROW(recipe.set("a\tb=1"), ArgumentError);
  EXPECT_THROW(recipe.set("#a=1"), ArgumentError);
  EXPECT_THROW(recipe.set("a=[{\"\\tb\"=1}]"), ArgumentError);
}

TEST(Recipe, CopyIsIndependent) {
  Recipe recipe = Recipe::parse(kText, "r.toml");
  Recipe copy = recipe;
  copy.set("seed=9");
  EXPECT_EQ(recipe.integer("seed", 0), 7);
  EXPECT_EQ(copy.integer("seed", 0), 9);
}

TEST(Recipe, BadTomlNamesTheLine) {
  EXPECT_THAT(error_of([] { Recipe::parse("a = 1\nb = = 2\n", "r.toml"); }),
              testing::StartsWith("r.toml:2: expected TOML, found a mistake"));
  EXPECT_THAT(error_of([] { Recipe::load("/nowhere/r.toml"); }),
              testing::StartsWith("/nowhere/r.toml: expected a file, found none"));
  EXPECT_THAT(error_of([] { Recipe::load("/"); }),
              testing::StartsWith("/: expected a file, found a directory"));
}

}  // namespace
}  // namespace fovea::formats
