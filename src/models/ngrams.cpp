#include "fovea/models/ngrams.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <unordered_map>

#include "base/check.hpp"

namespace fovea::models {
namespace {

bool word_byte(unsigned char c) {
  return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// FNV-1a folded through a 64-bit mixer (murmur3's finaliser): short strings differ in every bit.
uint64_t mix(uint64_t h) {
  h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
  h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53u;
  return h ^ (h >> 33);
}
uint64_t hash_of(std::string_view s, uint64_t h) {
  for (const char c : s) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return h;
}
constexpr uint64_t kWordBasis = 0xcbf29ce484222325u;
constexpr uint64_t kCharBasis = 0x84222325cbf29ce4u;

// The top bit tells the parts apart (words 0, characters 1): transform() scales them separately.
uint64_t as_word(uint64_t h) {
  return mix(h) & ~(uint64_t{1} << 63);
}
uint64_t as_chars(uint64_t h) {
  return mix(h) | uint64_t{1} << 63;
}

// Every feature of a text, with repeats.
void features_of(std::string_view text, const NgramOptions& o, std::vector<uint64_t>& out) {
  std::vector<uint64_t> words;
  std::string word;
  for (size_t i = 0; i < text.size();) {
    if (!word_byte(static_cast<unsigned char>(text[i]))) {
      ++i;
      continue;
    }
    word.assign(1, '<');
    while (i < text.size() && word_byte(static_cast<unsigned char>(text[i]))) word += lower(text[i++]);
    word += '>';
    if (o.words > 0) words.push_back(hash_of(std::string_view(word).substr(1, word.size() - 2), kWordBasis));
    const auto n = static_cast<int64_t>(word.size());
    if (o.chars_max == 0) continue;
    for (int64_t begin = 0; begin < n; ++begin) {
      uint64_t h = kCharBasis;
      for (int64_t length = 1; length <= o.chars_max && begin + length <= n; ++length) {
        h = (h ^ static_cast<unsigned char>(word[static_cast<size_t>(begin + length - 1)])) * 0x100000001b3u;
        if (length >= o.chars_min) out.push_back(as_chars(h));
      }
    }
  }
  for (size_t i = 0; i < words.size(); ++i) {
    uint64_t h = words[i];
    out.push_back(as_word(h));
    for (size_t n = 1; n < static_cast<size_t>(o.words) && i + n < words.size(); ++n) {
      h = (h ^ ' ') * 0x100000001b3u + words[i + n];
      out.push_back(as_word(h));
    }
  }
}

}  // namespace

Ngrams Ngrams::fit(std::span<const std::string_view> texts, const NgramOptions& options) {
  check_argument(options.words > 0 || options.chars_max > 0, "ngrams",
                 "expected words or chars_max above 0, got neither");
  check_argument(options.words >= 0 && options.chars_min >= 1 && options.max_features >= 1, "ngrams",
                 "expected words >= 0, chars_min >= 1 and max_features >= 1, got {}, {} and {}",
                 options.words, options.chars_min, options.max_features);
  std::unordered_map<uint64_t, int32_t> texts_with;
  std::vector<uint64_t> features;
  for (const std::string_view text : texts) {
    features.clear();
    features_of(text, options, features);
    std::sort(features.begin(), features.end());
    features.erase(std::unique(features.begin(), features.end()), features.end());
    for (const uint64_t f : features) ++texts_with[f];
  }
  std::vector<std::pair<uint64_t, int32_t>> kept;
  for (const auto& entry : texts_with) {
    if (entry.second >= options.min_count) kept.emplace_back(entry);
  }
  // Ties by hash, so that the choice does not hang on the map's order.
  if (static_cast<int64_t>(kept.size()) > options.max_features) {
    std::sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) {
      return a.second != b.second ? a.second > b.second : a.first < b.first;
    });
    kept.resize(static_cast<size_t>(options.max_features));
  }
  std::sort(kept.begin(), kept.end());
  Ngrams result;
  result.options_ = options;
  const auto count = static_cast<int64_t>(kept.size());
  result.hashes_ = Tensor::empty({count}, DType::kI64);
  result.idf_ = Tensor::empty({count});
  for (size_t i = 0; i < kept.size(); ++i) {
    result.hashes_.span<int64_t>()[i] = std::bit_cast<int64_t>(kept[i].first);
    result.idf_.span<float>()[i] = static_cast<float>(
        std::log((1.0 + static_cast<double>(texts.size())) / (1.0 + kept[i].second)) + 1.0);
  }
  result.index();
  return result;
}

Ngrams Ngrams::restore(const NgramOptions& options, Tensor hashes, Tensor idf, std::string_view where) {
  check_data(hashes.defined() && idf.defined() && hashes.rank() == 1 && idf.rank() == 1 &&
                 hashes.dim(0) == idf.dim(0) && hashes.dtype() == DType::kI64 && idf.dtype() == DType::kF32,
             where,
             "expected features.hash [F] of int64 and features.idf [F] of float32; train the model again");
  Ngrams result;
  result.options_ = options;
  result.hashes_ = std::move(hashes);
  result.idf_ = std::move(idf);
  const auto values = std::as_const(result.hashes_).span<int64_t>();
  for (size_t i = 1; i < values.size(); ++i) {
    check_data(std::bit_cast<uint64_t>(values[i - 1]) < std::bit_cast<uint64_t>(values[i]), where,
               "expected ascending features.hash, found a descent at {}; train the model again", i);
  }
  result.index();
  return result;
}

void Ngrams::index() {
  const auto count = static_cast<size_t>(size());
  slots_.assign(std::bit_ceil(2 * count + 1), -1);
  const auto hashes = std::as_const(hashes_).span<int64_t>();
  for (size_t i = 0; i < count; ++i) {
    size_t slot = static_cast<size_t>(hashes[i]) & (slots_.size() - 1);
    while (slots_[slot] >= 0) slot = (slot + 1) & (slots_.size() - 1);
    slots_[slot] = static_cast<int32_t>(i);
  }
}

void Ngrams::transform(std::string_view text, SparseRows& rows) const {
  std::vector<uint64_t> features;
  features_of(text, options_, features);
  const auto hashes = hashes_.span<int64_t>();
  const auto idf = idf_.span<float>();
  std::vector<int32_t> found;
  for (const uint64_t f : features) {
    size_t slot = static_cast<size_t>(f) & (slots_.size() - 1);
    while (slots_[slot] >= 0 && std::bit_cast<uint64_t>(hashes[static_cast<size_t>(slots_[slot])]) != f) {
      slot = (slot + 1) & (slots_.size() - 1);
    }
    if (slots_[slot] >= 0) found.push_back(slots_[slot]);
  }
  std::sort(found.begin(), found.end());
  const auto first = static_cast<size_t>(rows.offsets.back());
  double squares[2] = {0, 0};
  for (size_t i = 0; i < found.size();) {
    size_t j = i;
    while (j < found.size() && found[j] == found[i]) ++j;
    const auto column = static_cast<size_t>(found[i]);
    const double value = (1.0 + std::log(static_cast<double>(j - i))) * idf[column];
    squares[hashes[column] < 0 ? 1 : 0] += value * value;
    rows.columns.push_back(found[i]);
    rows.values.push_back(static_cast<float>(value));
    i = j;
  }
  const double parts = options_.words > 0 && options_.chars_max > 0 ? 2 : 1;
  const double scales[2] = {1 / std::sqrt(std::max(squares[0] * parts, 1e-30)),
                            1 / std::sqrt(std::max(squares[1] * parts, 1e-30))};
  for (size_t i = first; i < rows.values.size(); ++i) {
    const auto column = static_cast<size_t>(rows.columns[i]);
    rows.values[i] = static_cast<float>(rows.values[i] * scales[hashes[column] < 0 ? 1 : 0]);
  }
  rows.offsets.push_back(static_cast<int64_t>(rows.values.size()));
}

}  // namespace fovea::models
