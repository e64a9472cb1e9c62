#include "formats/vocabulary.hpp"

#include <algorithm>

#include "fovea/formats/utf8.hpp"

namespace fovea::formats {

namespace {
constexpr size_t kMaxPieces = 10'000'000;
}  // namespace

Vocabulary Vocabulary::with_specials(std::vector<std::string> pieces, bool all) {
  Vocabulary vocabulary;
  vocabulary.pieces_ = {"<unk>"};
  vocabulary.specials_.unk = 0;
  if (all) {
    vocabulary.pieces_.insert(vocabulary.pieces_.end(), {"<s>", "</s>", "<cls>"});
    vocabulary.specials_ = {0, 1, 2, 3};
  }
  for (auto& piece : pieces) vocabulary.pieces_.push_back(std::move(piece));
  vocabulary.index("vocabulary");
  return vocabulary;
}

Vocabulary Vocabulary::from_json(const Json& json, std::string_view where) {
  Vocabulary vocabulary;
  vocabulary.pieces_ = json_member<std::vector<std::string>>(json, "pieces", where);
  check_data(vocabulary.pieces_.size() <= kMaxPieces, where, "expected at most {} pieces, found {}",
             kMaxPieces, vocabulary.pieces_.size());
  const auto specials = json_member<Json>(json, "special", where);
  check_data(specials.is_object(), where, "expected \"special\" to be an object, found {}",
             json_kind(specials));
  const auto read = [&](const char* name) {
    const auto id = json_member<int64_t>(specials, name, where);
    check_data(id >= -1 && id < vocabulary.size(), where, "expected the id of {} from -1 to {}, found {}",
               name, vocabulary.size() - 1, id);
    return static_cast<int32_t>(id);
  };
  vocabulary.specials_ = {read("unk"), read("bos"), read("eos"), read("cls")};
  check_data(vocabulary.specials_.unk >= 0, where, "expected an id for unk, found none");
  vocabulary.index(where);
  return vocabulary;
}

Json Vocabulary::to_json() const {
  return Json{
      {"special",
       {{"unk", specials_.unk}, {"bos", specials_.bos}, {"eos", specials_.eos}, {"cls", specials_.cls}}},
      {"pieces", pieces_}};
}

void Vocabulary::index(std::string_view where) {
  ids_.reserve(pieces_.size());
  for (size_t i = 0; i < pieces_.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    if (is_special(id)) continue;
    check_data(!pieces_[i].empty(), where, "expected pieces that are not empty, found piece {} empty", i);
    check_data(ids_.emplace(pieces_[i], id).second, where, "expected each piece once, found \"{}\" twice",
               pieces_[i]);
  }
}

bool Vocabulary::is_special(int32_t id) const {
  return id == specials_.unk || id == specials_.bos || id == specials_.eos || id == specials_.cls;
}

int32_t Vocabulary::find(std::string_view piece) const {
  const auto found = ids_.find(piece);
  return found == ids_.end() ? specials_.unk : found->second;
}

void check_id(int32_t id, int64_t size) {
  check_argument(id >= 0 && id < size, "tokenizer", "expected an id from 0 to {}, got {}", size - 1, id);
}

std::vector<std::string> by_frequency(const std::unordered_map<std::string, int64_t>& counts,
                                      int64_t min_count, int64_t limit) {
  std::vector<std::pair<int64_t, std::string_view>> order;
  for (const auto& [piece, count] : counts) {
    if (count >= min_count) order.emplace_back(-count, piece);
  }
  std::sort(order.begin(), order.end());
  if (limit > 0 && std::cmp_greater(order.size(), limit)) order.resize(static_cast<size_t>(limit));
  std::vector<std::string> pieces;
  pieces.reserve(order.size());
  for (const auto& [count, piece] : order) pieces.emplace_back(piece);
  return pieces;
}

}  // namespace fovea::formats
