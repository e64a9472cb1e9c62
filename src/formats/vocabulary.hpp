// A list of pieces with their ids, for the tokenizers that look tokens up. Internal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "formats/json.hpp"

namespace fovea::formats {

class Vocabulary {
 public:
  // Where the special tokens stand; -1 for none.
  struct Specials {
    int32_t unk = -1;
    int32_t bos = -1;
    int32_t eos = -1;
    int32_t cls = -1;
  };

  Vocabulary() = default;
  // <unk> and, with `all`, <s> </s> <cls> stand first, then `pieces`, then nothing.
  static Vocabulary with_specials(std::vector<std::string> pieces, bool all);
  static Vocabulary from_json(const Json& json, std::string_view where);
  Json to_json() const;

  int64_t size() const { return static_cast<int64_t>(pieces_.size()); }
  const std::string& piece(int32_t id) const { return pieces_[static_cast<size_t>(id)]; }
  bool is_special(int32_t id) const;
  // The id of an ordinary piece, or unk. A text that reads "<s>" is never the special token.
  int32_t find(std::string_view piece) const;
  const Specials& specials() const { return specials_; }

 private:
  void index(std::string_view where);

  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::vector<std::string> pieces_;
  std::unordered_map<std::string, int32_t, Hash, std::equal_to<>> ids_;
  Specials specials_;
};

// ArgumentError unless 0 <= id < size.
void check_id(int32_t id, int64_t size);

// Counts, then orders: most frequent first, ties by the piece's bytes. Keeps those with count >= min_count,
// at most `limit` of them when limit > 0.
std::vector<std::string> by_frequency(const std::unordered_map<std::string, int64_t>& counts,
                                      int64_t min_count, int64_t limit);

}  // namespace fovea::formats
