// In a process of any locale, models, their files and their pages are the same: a decimal comma, points
// between thousands and Turkish capitals are for people, not for files.
#include <gtest/gtest.h>

#include <clocale>
#include <cstdlib>
#include <filesystem>
#include <locale>

#include "fovea/base/error.hpp"
#include "fovea/base/progress.hpp"
#include "fovea/explain/explain_model.hpp"
#include "fovea/explain/page.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/tasks/model.hpp"
#include "fovea/train/train.hpp"
#include "tests/train/support.hpp"

namespace fovea::train {
namespace {

using test::Folder;

// C's and C++'s locale of the process, which a host may set.
class InLocale {
 public:
  explicit InLocale(const std::string& name)
      : before_(std::locale::global(std::locale(name))) {}  // a named one is C's too
  ~InLocale() {
    std::locale::global(before_);
    std::setlocale(LC_ALL, "C");
  }
  InLocale(const InLocale&) = delete;
  InLocale& operator=(const InLocale&) = delete;

 private:
  std::locale before_;
};

// Stops after so many steps.
class Stop : public ProgressSink {
 public:
  explicit Stop(int64_t steps) : steps_(steps) {}
  void progress(const ProgressEvent& event) override {
    if (event.stage == "train") done_ = event.done;
  }
  bool stop_requested() override { return done_ >= steps_; }

 private:
  int64_t steps_, done_ = 0;
};

struct Made {
  std::string weights, config, recipe, tokenizer;
};

std::string page_of(const std::filesystem::path& model) {
  return explain::render_page(explain::explain_model(Model::load(model), {{"SOME VIOLIN IN IT", "music"}}));
}

Made made(const Folder& folder, const std::string& name) {
  auto r = test::recipe(folder);
  r.set("tokenizer.kind", "bpe");
  r.set("tokenizer.vocab_size", int64_t{1200});  // with a point between thousands it would be 1
  r.set("tokenizer.lowercase", true);
  r.set("train.checkpoint_every", int64_t{5});
  r.set("train.validate_every", int64_t{5});
  const auto out = folder.path() / name;
  Stop stop(20);
  EXPECT_THROW(train(r, {.out = out, .progress = &stop}), Interrupted);
  EXPECT_NO_THROW(train(r, {.out = out, .resume = true}));
  return {formats::read_file(out / "model.safetensors"), formats::read_file(out / "config.json"),
          formats::read_file(out / "recipe.toml"), formats::read_file(out / "tokenizer.json")};
}

TEST(Locale, ModelsFilesAndPagesAreTheSameInEvery) {
  Folder folder;
  for (const std::string name : {"tr_TR", "de_DE"}) {
    const std::string command = "localedef -i " + name + " -f UTF-8 '" +
                                (folder.path() / (name + ".UTF-8")).string() + "' >/dev/null 2>&1";
    if (std::system(command.c_str()) != 0)
      GTEST_SKIP() << "localedef makes no " << name << ", so other locales were not tested; install locales";
  }
  ::setenv("LOCPATH", folder.path().c_str(), 1);
  const Made plain = made(folder, "C");
  const std::string page = page_of(folder.path() / "C");
  for (const std::string name : {"tr_TR.UTF-8", "de_DE.UTF-8"}) {
    const InLocale in(name);
    ASSERT_STREQ(std::localeconv()->decimal_point, ",") << name;
    const Made found = made(folder, name + ".model");
    EXPECT_TRUE(found.weights == plain.weights) << name;
    EXPECT_EQ(found.config, plain.config) << name;
    EXPECT_EQ(found.recipe, plain.recipe) << name;
    EXPECT_TRUE(found.tokenizer == plain.tokenizer) << name;
    EXPECT_TRUE(page_of(folder.path() / "C") == page)
        << name;  // of one model: pages tell how long training took
  }
  ::unsetenv("LOCPATH");
}

}  // namespace
}  // namespace fovea::train
