// A model's files as they lie on the disk: a bit that flips is found, and never another answer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fovea/base/error.hpp"
#include "fovea/base/random.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/manifest.hpp"
#include "fovea/tasks/model.hpp"
#include "fovea/train/train.hpp"
#include "tests/train/support.hpp"

namespace fovea::train {
namespace {

namespace fs = std::filesystem;
using test::Folder;

TEST(Integrity, AFlippedBitInAnyFileIsRefused) {
  for (const char* kind : {"attention", "linear", "majority"}) {
    const Folder folder;
    auto r = test::recipe(folder, "", 60);
    r.set("model.kind", kind);
    r.set("train.epochs", int64_t{1});
    const fs::path model = train(r, {.out = folder.path() / "model"}).folder;
    Random random(3);
    for (const auto& entry : fs::directory_iterator(model)) {
      const std::string name = entry.path().filename().string();
      if (name == "state.safetensors") continue;  // only --resume reads it, and it has a checksum of its own
      const std::string good = formats::read_file(entry.path());
      for (int i = 0; i < 40; ++i) {
        const auto bit = random.below(8 * good.size());
        std::string bad = good;
        bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
        test::write_file(entry.path(), bad);
        try {
          Model::load(model);
          ADD_FAILURE() << kind << ": " << name << " with bit " << bit << " flipped was taken";
        } catch (const DataError& error) {
          EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
        }
      }
      test::write_file(entry.path(), good);
    }
    EXPECT_TRUE(Model::load(model).verified());
  }
}

TEST(Integrity, AFolderOfAnEarlierVersionIsLoadedUnverified) {
  const Folder folder;
  auto r = test::recipe(folder, "", 60);
  r.set("model.kind", "linear");
  const fs::path model = train(r, {.out = folder.path() / "model"}).folder;
  fs::remove(model / "manifest.json");
  fs::remove(model / "data.json");
  EXPECT_FALSE(Model::load(model).verified());
  // It resumes, and is overwritten, as it did then.
  EXPECT_NO_THROW(train(r, {.out = model, .resume = true}));
  EXPECT_THROW(train(r, {.out = model}), ArgumentError);
  train(r, {.out = model, .overwrite = true});
  EXPECT_TRUE(Model::load(model).verified());
}

TEST(Integrity, ASecondRunInAFolderIsRefusedWhileTheFirstWorks) {
  const Folder folder;
  const auto r = test::recipe(folder, "", 60);
  class Second final : public ProgressSink {
   public:
    explicit Second(std::function<void()> start) : start_(std::move(start)) {}
    void progress(const ProgressEvent&) override { start_(); }

   private:
    std::function<void()> start_;
  };
  int refused = 0;
  Second second([&] {
    for (const TrainOptions& options : {TrainOptions{.out = folder.path() / "model", .resume = true},
                                        TrainOptions{.out = folder.path() / "model", .overwrite = true}}) {
      try {
        train(r, options);
        ADD_FAILURE() << "a second run began";
      } catch (const DataError& error) {
        EXPECT_THAT(error.what(), testing::HasSubstr("no other run writes to"));
        ++refused;
      }
    }
  });
  train(r, {.out = folder.path() / "model", .progress = &second});
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace fovea::train
