#include "fovea/data/parts.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/wait.h>

#include <set>

#include "fovea/base/error.hpp"
#include "fovea/formats/folder_lock.hpp"
#include "tests/support/file_faults.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fovea::data {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::vector<NamedTable> parts(const std::vector<std::string>& names, const std::string& cell) {
  std::vector<NamedTable> result;
  for (const std::string& name : names) result.push_back({name, Table::from_columns({"text"}, {{cell}})});
  return result;
}

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

class PartsTest : public testing::Test {
 protected:
  std::string error_of(const std::vector<NamedTable>& given, Earlier earlier) {
    try {
      write_parts(given, out_, earlier);
    } catch (const std::exception& error) {
      return error.what();
    }
    return "no error";
  }
  TemporaryFolder folder_;
  fs::path out_ = folder_.path() / "reviews";
};

TEST_F(PartsTest, EarlierPartsAreRefusedAndReplacedAsAWhole) {
  write_parts(parts({"train", "valid", "test"}, "old"), out_);
  EXPECT_EQ(names_in(out_), (std::set<std::string>{"train.csv", "valid.csv", "test.csv"}));
  EXPECT_THAT(error_of(parts({"train", "test"}, "new"), Earlier::kRefuse),
              HasSubstr("holds test.csv, train.csv, valid.csv; give --overwrite"));
  EXPECT_EQ(folder_.read("reviews/train.csv"), "text\nold\n");
  write_parts(parts({"train", "test"}, "new"), out_, Earlier::kReplace);
  EXPECT_EQ(names_in(out_), (std::set<std::string>{"train.csv", "test.csv"}));
  EXPECT_EQ(folder_.read("reviews/test.csv"), "text\nnew\n");
  EXPECT_EQ(names_in(folder_.path()), (std::set<std::string>{"reviews"}))
      << "something is left beside the folder";
}

TEST_F(PartsTest, PartsOfAnotherFormatOrNumberAreEarlierPartsToo) {
  fs::create_directory(out_);
  folder_.write("reviews/valid.jsonl", "{}");
  EXPECT_THAT(error_of(parts({"train", "test"}, "new"), Earlier::kRefuse), HasSubstr("valid.jsonl"));
  write_parts(parts({"part1", "part2", "part3", "part4"}, "new"), out_, Earlier::kReplace);
  EXPECT_EQ(names_in(out_), (std::set<std::string>{"part1.csv", "part2.csv", "part3.csv", "part4.csv"}));
  EXPECT_THAT(error_of(parts({"train", "test"}, "new"), Earlier::kRefuse), HasSubstr("part4.csv"));
}

TEST_F(PartsTest, OtherFilesOfTheFolderAreKept) {
  fs::create_directory(out_);
  folder_.write("reviews/notes.txt", "mine");
  write_parts(parts({"train", "test"}, "new"), out_);
  EXPECT_EQ(names_in(out_), (std::set<std::string>{"notes.txt", "train.csv", "test.csv"}));
  EXPECT_THAT(error_of(parts({"train"}, "newer"), Earlier::kReplace), HasSubstr("also holds notes.txt"));
  EXPECT_EQ(folder_.read("reviews/train.csv"), "text\nnew\n");
}

TEST_F(PartsTest, KilledAtAnyChangeLeavesTheOldPartsOrTheNewOnes) {
  const auto before = parts({"train", "valid", "test"}, "old"), after = parts({"train", "test"}, "new");
  int killed = 0, left_new = 0;
  for (int64_t changes = 0;; ++changes) {
    ASSERT_LT(changes, 200);
    fs::remove_all(out_);
    write_parts(before, out_);
    const pid_t child = ::fork();
    if (child == 0) {
      g_changes_left = changes;
      g_fault = Fault::kKill;
      write_parts(after, out_, Earlier::kReplace);
      g_fault = Fault::kNone;
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    auto names = names_in(out_);
    names.erase(".lock");
    const bool is_new = folder_.read("reviews/train.csv") == "text\nnew\n";
    EXPECT_EQ(names, is_new ? (std::set<std::string>{"train.csv", "test.csv"})
                            : (std::set<std::string>{"train.csv", "valid.csv", "test.csv"}))
        << "after " << changes << " changes";
    EXPECT_EQ(folder_.read("reviews/test.csv"), is_new ? "text\nnew\n" : "text\nold\n");
    left_new += is_new;
    if (WIFEXITED(status)) {
      EXPECT_EQ(WEXITSTATUS(status), 0);
      break;
    }
    ++killed;
    write_parts(after, out_, Earlier::kReplace);  // what the kill left is no hindrance
    EXPECT_EQ(names_in(out_), (std::set<std::string>{"train.csv", "test.csv"}));
    EXPECT_EQ(names_in(folder_.path()), (std::set<std::string>{"reviews"}));
  }
  EXPECT_GT(killed, 5);
  EXPECT_GT(left_new, 1);
}

TEST_F(PartsTest, ASecondSplitAtOnceIsRefused) {
  const formats::FolderLock other(out_);
  EXPECT_THAT(error_of(parts({"train"}, "new"), Earlier::kRefuse), HasSubstr("no other run writes to"));
}

}  // namespace
}  // namespace fovea::data
