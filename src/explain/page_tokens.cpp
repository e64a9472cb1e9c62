// The tokens of a text as slices of it, and the words that they make up.
#include <algorithm>

#include "fovea/explain/explain_text.hpp"
#include "fovea/formats/utf8.hpp"
#include "fovea/formats/words.hpp"

namespace fovea::explain {
namespace {

// The characters that a span touches. SentencePiece gives a character that it normalises to several letters
// to the last of their tokens and nothing to the others; tokens of single bytes each hold a part of one.
class Characters {
 public:
  explicit Characters(std::string_view text) : borders_(text.size() + 1) {
    const auto size = static_cast<int64_t>(text.size());
    for (int64_t at = 0; at < size; at += formats::decode_utf8(text, at).length)
      borders_[static_cast<size_t>(at)] = true;
    borders_.back() = true;
  }
  int64_t floor(int64_t at) const {
    while (!borders_[static_cast<size_t>(at)]) --at;
    return at;
  }
  int64_t ceil(int64_t at) const {
    while (!borders_[static_cast<size_t>(at)]) ++at;
    return at;
  }
  formats::Span around(formats::Span span) const { return {floor(span.begin), ceil(span.end)}; }
  int64_t size() const { return static_cast<int64_t>(borders_.size()) - 1; }

 private:
  std::vector<bool> borders_;
};

// Tokens [first, last) that are shown as one, for they share characters or only the last of them has any.
struct Group {
  size_t first = 0, last = 0;
  formats::Span span;
};

std::vector<Group> groups_of(std::string_view text, const formats::Encoding& encoding) {
  const Characters characters(text);
  std::vector<Group> groups;
  for (size_t t = 0; t < encoding.spans.size(); ++t) {
    const formats::Span span = characters.around(encoding.spans[t]);
    Group* const open = groups.empty() ? nullptr : &groups.back();
    if (open != nullptr && open->span.begin == open->span.end) {
      open->span = {span.begin, std::max(span.begin, span.end)};
      open->last = t + 1;
    } else if (open != nullptr && span.begin < open->span.end) {
      open->span.end = std::max(open->span.end, span.end);
      open->last = t + 1;
    } else {
      groups.push_back({t, t + 1, span});
    }
  }
  if (groups.empty() || groups.back().span.begin < groups.back().span.end) return groups;
  // The last tokens have no byte: the text was cut within the letters of a character, which they then hold,
  // or nothing is left of it and they belong to those before.
  Group& open = groups.back();
  if (open.span.end < characters.size()) {
    open.span.end = characters.ceil(open.span.end + 1);
  } else if (groups.size() > 1) {
    groups[groups.size() - 2].last = open.last;
    groups.pop_back();
  }
  return groups;
}

// Numbers words: one ends where white space stands between two characters that are none.
class WordCounter {
 public:
  int64_t word_of(std::string_view text) {
    const auto size = static_cast<int64_t>(text.size());
    bool seen = false;  // a character of this token that is no white space
    bool blank = blank_;
    for (int64_t at = 0; at < size;) {
      const formats::CodePoint point = formats::decode_utf8(text, at);
      at += point.length;
      blank_ = formats::is_white_space(point.value);
      seen = seen || !blank_;
      if (!seen) blank = true;
    }
    if (blank && filled_) {
      ++word_;
      filled_ = false;
    }
    filled_ = filled_ || seen;
    return word_;
  }

 private:
  int64_t word_ = 0;
  bool filled_ = false;  // the word has a character that is no white space
  bool blank_ = false;   // the text so far ends with white space
};

std::string trimmed(std::string_view text) {
  const auto size = static_cast<int64_t>(text.size());
  int64_t begin = size, end = 0;
  for (int64_t at = 0; at < size;) {
    const formats::CodePoint point = formats::decode_utf8(text, at);
    if (!formats::is_white_space(point.value)) {
      begin = std::min(begin, at);
      end = at + point.length;
    }
    at += point.length;
  }
  return begin < end ? std::string(text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin)))
                     : std::string();
}

}  // namespace

std::vector<PageToken> page_tokens(std::string_view text, const formats::Encoding& encoding) {
  std::vector<PageToken> tokens(encoding.spans.size());
  WordCounter counter;
  int64_t before = 0;
  for (const Group& group : groups_of(text, encoding)) {
    // Bytes between two groups (blanks, and what the tokenizer left out) are shown with the later one.
    const std::string_view shown =
        text.substr(static_cast<size_t>(before), static_cast<size_t>(group.span.end - before));
    const int64_t word = counter.word_of(shown);
    for (size_t t = group.first; t < group.last; ++t)
      tokens[t] = {"", word, group.span.begin, group.span.end};
    tokens[group.first].text = std::string(shown);
    before = group.span.end;
  }
  return tokens;
}

std::vector<PageWord> page_words(const std::vector<PageToken>& tokens) {
  std::vector<PageWord> words;
  for (size_t first = 0; first < tokens.size();) {
    size_t last = first;
    std::string text;
    while (last < tokens.size() && tokens[last].word == tokens[first].word) text += tokens[last++].text;
    if (std::string word = trimmed(text); tokens[first].word >= 0 && !word.empty())
      words.push_back({std::move(word), first, last});
    first = last;
  }
  return words;
}

}  // namespace fovea::explain
