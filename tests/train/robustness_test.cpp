// What people give by mistake: each case ends in an error that names the file and says what to do, or works.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "fovea/base/error.hpp"
#include "fovea/tasks/model.hpp"
#include "fovea/train/train.hpp"
#include "tests/train/support.hpp"

namespace fovea::train {
namespace {

using test::Folder;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

formats::Recipe small_recipe(const std::filesystem::path& file) {
  auto r = formats::Recipe::parse("task = \"text-classification\"", "recipe.toml");
  r.set("data.file", file.string());
  r.set("model.kind", "linear");
  return r;
}

std::string error_of(const formats::Recipe& recipe, const std::filesystem::path& out) {
  try {
    train(recipe, {.out = out, .overwrite = true});
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Robustness, DataThatCannotBeUsedSaysWhatToDo) {
  const Folder folder;
  const auto file = folder.path() / "data.csv";
  const auto out = folder.path() / "model";
  const auto message = [&](const std::string& content) {
    test::write_file(file, content);
    return error_of(small_recipe(file), out);
  };
  EXPECT_EQ(message(""), file.string() + ": expected rows, found an empty file; was it written to the end?");
  EXPECT_EQ(message("text,label\n"),
            file.string() + ": expected rows, found only a header; add rows, or name another file");
  EXPECT_THAT(message("text,label\na,b\nc\n"),
              StartsWith(file.string() + ":3: expected 2 fields, found 1; quote fields that hold ','"));
  EXPECT_THAT(message("text,label\na b,c\nd e,c\n"), EndsWith("choose another data.target"));
  EXPECT_EQ(error_of(small_recipe(folder.path()), out),
            folder.path().string() + ": expected a file, found a directory; name the file within it");
  EXPECT_THAT(error_of(small_recipe(folder.path() / "none.csv"), out),
              EndsWith("found none; check the path"));
  test::write_file(file, test::example_csv(60));
  EXPECT_THAT(error_of(small_recipe(file), "/proc/model"), EndsWith("give another --out"));
}

TEST(Robustness, APoolingThatIsNoneSaysWhichThereAre) {
  const Folder folder;
  auto r = test::recipe(folder, "[model]\npooling = [\"mean\", \"mena\"]\n");
  EXPECT_EQ(
      error_of(r, folder.path() / "model"),
      "recipe.toml:3: model.pooling: expected one or more of first, last, mean, max and attention, none "
      "twice, found [mean, mena]");
}

// The effective user while it lives; root may read every file, this one may not.
class OtherUser {
 public:
  OtherUser() : changed_(::geteuid() == 0 && ::seteuid(65534) == 0) {}
  ~OtherUser() {
    if (changed_) static_cast<void>(::seteuid(0));
  }
  OtherUser(const OtherUser&) = delete;
  OtherUser& operator=(const OtherUser&) = delete;

 private:
  bool changed_;
};

TEST(Robustness, AnUnreadableFileSaysWhatToDo) {
  const Folder folder;
  const auto file = folder.path() / "data.csv";
  test::write_file(file, test::example_csv(60));
  std::filesystem::permissions(folder.path(), std::filesystem::perms::all);
  std::filesystem::permissions(file, std::filesystem::perms::none);
  const OtherUser other;
  if (::geteuid() == 0) GTEST_SKIP() << "root, without the right to become another user, reads every file";
  EXPECT_THAT(error_of(small_recipe(file), folder.path() / "model"),
              AllOf(StartsWith(file.string()), HasSubstr("this user may not read")));
}

TEST(Robustness, ATextOfTenMegabytesAmongOthersTrains) {
  const Folder folder;
  const auto file = folder.path() / "data.csv";
  std::string text;
  while (text.size() < 10 << 20) text += "violin of the ";
  test::write_file(file, test::example_csv(60) + text + ",music\n");
  for (const char* kind : {"linear", "attention"}) {
    auto r = small_recipe(file);
    r.set("model.kind", kind);
    if (std::string(kind) == "attention") {
      r.set("tokenizer.kind", "words");
      r.set("model.width", int64_t{16});
      r.set("model.heads", int64_t{2});
      r.set("train.epochs", int64_t{1});
    }
    const auto result = train(r, {.out = folder.path() / kind});
    EXPECT_EQ(Model::load(result.folder).predict("a violin of the").probabilities.size(), 3U) << kind;
  }
}

}  // namespace
}  // namespace fovea::train
