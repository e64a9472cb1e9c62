// Every JSON of a saved model's folder, changed value by value in ways that no checksum catches: each ends in
// an error that names the file in our words, or in a model that works. Never in a crash, an endless request
// for memory, or the words of the library that reads JSON.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "fovea/base/error.hpp"
#include "fovea/explain/explain_model.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/manifest.hpp"
#include "fovea/tasks/data_digest.hpp"
#include "fovea/tasks/model.hpp"
#include "fovea/train/train.hpp"
#include "tests/train/support.hpp"

namespace fovea::train {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using test::Folder;

// Of every type, and numbers at the borders of what a size may be.
const std::vector<Json>& odd_values() {
  static const std::vector<Json> kValues = {nullptr,
                                            true,
                                            "",
                                            "odd",
                                            0,
                                            -1,
                                            2.5,
                                            1e300,
                                            2147483648,
                                            9223372036854775807,
                                            18446744073709551615U,
                                            Json::array(),
                                            Json::object(),
                                            Json::array({1, "a"})};
  return kValues;
}

// The places of all values; of a list the first three and the last, whose fellows are read alike.
void places_in(const Json& json, const Json::json_pointer& at, std::vector<Json::json_pointer>& out) {
  if (!at.empty()) out.push_back(at);
  if (json.is_object()) {
    for (const auto& [key, value] : json.items()) places_in(value, at / key, out);
  } else if (json.is_array()) {
    for (size_t i = 0; i < json.size(); ++i) {
      if (i < 3 || i + 1 == json.size()) places_in(json[i], at / i, out);
    }
  }
}

Json without(Json json, const Json::json_pointer& place) {
  Json& parent = json[place.parent_pointer()];
  if (parent.is_array()) {
    parent.erase(static_cast<size_t>(std::stoul(place.back())));
  } else {
    parent.erase(place.back());
  }
  return json;
}

std::string checksum(std::string_view text) {
  return fmt::format("{:08x}", formats::crc32c(text));
}

// A file with JSON in it, and how it is written again so that its own checksum fits.
struct Kind {
  std::string name;
  std::function<Json(const std::string&)> read = [](const std::string& bytes) { return Json::parse(bytes); };
  std::function<std::string(Json)> write = [](const Json& json) { return json.dump(); };
};

std::vector<Kind> kinds() {
  std::vector<Kind> all(5);
  all[0].name = "config.json";
  all[1].name = "metrics.json";
  all[2].name = "data.json";
  all[3].name = "tokenizer.json";
  all[3].write = [](Json json) {
    if (json.is_object() && json.contains("model") && json.contains("crc32c") && json["crc32c"].is_string())
      json["crc32c"] = checksum(json["model"].dump());
    return json.dump();
  };
  all[4].name = "model.safetensors";
  all[4].read = [](const std::string& bytes) {
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    Json header = Json::parse(bytes.substr(8, length));
    header.erase("__metadata__");  // with the checksum, which a file need not have
    header["__metadata__"] = {{"format", "pt"}};
    return header;
  };
  return all;
}

// What must not be read by users.
void expect_our_words(const std::string& message, const std::string& what) {
  for (const char* word : {"nlohmann", "json.exception", "parse_error", "type_error", "out_of_range",
                           "basic_string", "vector::", "stoi", "std::", "filesystem error", "map::at"}) {
    EXPECT_EQ(message.find(word), std::string::npos) << what << ": " << message;
  }
  EXPECT_NE(message.find("expected"), std::string::npos) << what << ": " << message;
}

// Everything that reads the folder's JSON; the metrics, where `page`, for a page.
void use(const fs::path& folder, bool page) {
  const Model model = Model::load(folder);
  if (model.task() == "language-model") {
    model.generate("the ap", {.max_tokens = 3});
  } else {
    const Prediction p = model.predict("a small violin, and an ENGINE");
    EXPECT_EQ(p.probabilities.size(), model.labels().size());
  }
  const tasks::DataDigest digest = tasks::DataDigest::load(folder / "data.json");
  digest.difference(digest);
  digest.difference({});
  tasks::DataDigest{}.difference(digest);
  if (page) explain::explain_model(model, {});
}

// How many of the changes were refused.
int try_changes(const fs::path& folder, const Kind& kind) {
  const fs::path file = folder / kind.name;
  const std::string good = formats::read_file(file);
  std::string rest;
  if (kind.name == "model.safetensors") {
    uint64_t length = 0;
    std::memcpy(&length, good.data(), 8);
    rest = good.substr(8 + length);
  }
  const Json json = kind.read(good);
  int refused = 0;
  const auto attempt = [&](const Json& changed, const std::string& what) {
    std::string bytes = kind.write(changed);
    if (kind.name == "model.safetensors") {
      const uint64_t length = bytes.size();
      bytes = std::string(reinterpret_cast<const char*>(&length), 8) + bytes + rest;
    }
    test::write_file(file, bytes);
    try {
      use(folder, kind.name == "metrics.json");
    } catch (const DataError& error) {
      ++refused;
      const std::string message = error.what();
      expect_our_words(message, what);
      EXPECT_NE(message.find(folder.string()), std::string::npos) << what << ": " << message;
    } catch (const std::exception& error) {
      ADD_FAILURE() << what << ": expected a DataError, found " << error.what();
    }
  };
  attempt(json, kind.name + " unchanged");
  EXPECT_EQ(refused, 0) << kind.name << ": written again";
  std::vector<Json::json_pointer> places;
  places_in(json, Json::json_pointer(), places);
  for (const auto& place : places) {
    attempt(without(json, place), fmt::format("{} without {}", kind.name, place.to_string()));
    for (const Json& odd : odd_values()) {
      Json changed = json;
      changed[place] = odd;
      attempt(changed, fmt::format("{} with {} = {}", kind.name, place.to_string(), odd.dump()));
    }
  }
  for (const Json& odd : odd_values()) attempt(odd, fmt::format("{} = {}", kind.name, odd.dump()));
  test::write_file(file, good);
  return refused;
}

fs::path trained(const Folder& folder, const std::string& kind, const std::string& tokenizer) {
  auto r = test::recipe(folder, "", 60);
  if (kind == "language-model") {
    r.set("task", kind);
    r.set("model.context", int64_t{16});
    r.set("train.epochs", int64_t{1});
  } else {
    r.set("model.kind", kind);
    r.set("train.epochs", int64_t{1});
    if (kind == "attention") r.set("model.ngrams", int64_t{2});
    if (kind == "cnn") r.set("model.char_ngrams", int64_t{4});
  }
  r.set("tokenizer.kind", tokenizer);
  if (tokenizer == "unigram") r.set("tokenizer.vocab_size", int64_t{60});
  const fs::path out = train(r, {.out = folder.path() / "model"}).folder;
  // What the checksums of the manifest would refuse at once.
  fs::remove(out / formats::kManifestName);
  return out;
}

class DamagedJson : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(DamagedJson, EndsInOurWordsOrInAModelThatWorks) {
  const Folder folder;
  const fs::path model = trained(folder, GetParam().first, GetParam().second);
  for (const Kind& kind : kinds()) {
    if (!fs::exists(model / kind.name)) continue;
    // Of metrics.json nearly all may be missing; what is no object at all is refused.
    EXPECT_GT(try_changes(model, kind), kind.name == "metrics.json" ? 10 : 20) << kind.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, DamagedJson,
                         testing::Values(std::pair{"attention", "words"}, std::pair{"cnn", "unigram"},
                                         std::pair{"lstm", "bytes"}, std::pair{"linear", "words"},
                                         std::pair{"majority", "words"},
                                         std::pair{"language-model", "characters"}),
                         [](const auto& named) {
                           std::string name = named.param.first;
                           std::erase(name, '-');
                           return name;
                         });

// The manifest covers its own bytes: whatever is changed in it is refused.
TEST(DamagedManifest, IsRefusedInOurWords) {
  const Folder folder;
  auto r = test::recipe(folder, "", 60);
  r.set("model.kind", "majority");
  const fs::path model = train(r, {.out = folder.path() / "model"}).folder;
  const fs::path file = model / formats::kManifestName;
  const Json json = Json::parse(formats::read_file(file));
  std::vector<Json::json_pointer> places;
  places_in(json, Json::json_pointer(), places);
  for (const auto& place : places) {
    for (const Json& odd : odd_values()) {
      Json changed = json;
      changed[place] = odd;
      if (changed == json) continue;  // the version is 1
      test::write_file(file, changed.dump(2) + "\n");
      try {
        Model::load(model);
        ADD_FAILURE() << place.to_string() << " = " << odd.dump() << " was taken";
      } catch (const DataError& error) {
        expect_our_words(error.what(), place.to_string());
      }
    }
  }
}

// With a manifest that fits the change, as `fovea info --accept` writes it.
TEST(DamagedJsonAccepted, IsReadAsWithoutAManifest) {
  const Folder folder;
  const fs::path model = trained(folder, "linear", "words");
  Json config = Json::parse(formats::read_file(model / "config.json"));
  config["task"] = 3;
  test::write_file(model / "config.json", config.dump());
  formats::accept_files(model);
  try {
    Model::load(model);
    ADD_FAILURE() << "a task that is a number was taken";
  } catch (const DataError& error) {
    EXPECT_EQ(
        std::string(error.what()),
        (model / "config.json").string() +
            ": expected text under \"task\", found a whole number; the file is damaged or of another kind");
  }
}

// JSON that is none: the parser's words stay with the parser.
TEST(DamagedJsonText, NamesTheByteOfTheMistake) {
  const Folder folder;
  const fs::path model = trained(folder, "linear", "words");
  const std::string good = formats::read_file(model / "config.json");
  for (const auto& [text, expected] : std::vector<std::pair<std::string, std::string>>{
           {good.substr(0, 40), "expected JSON, found its end too early, after 40 bytes"},
           {"", "expected JSON, found its end too early, after 0 bytes"},
           {"{\"a\": nan}", "expected JSON, found a mistake at byte 8"},
           {"{\"a\": \"\xFF\"}", "expected JSON, found a mistake at byte 8"},
           {"{\"a\": 1e999}", "expected JSON with numbers up to 1.8e308, found a larger one"},
           {"{\"a\": 1, \"a\": 2}", "expected each JSON key once, found \"a\" twice"},
           {std::string(100, '['), "expected JSON of at most 64 levels, found more"}}) {
    test::write_file(model / "config.json", text);
    try {
      Model::load(model);
      ADD_FAILURE() << text << " was taken";
    } catch (const DataError& error) {
      expect_our_words(error.what(), text);
      EXPECT_NE(std::string(error.what()).find(expected), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace fovea::train
