#include "explain/attention_maps.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <span>

#include "explain/encoding.hpp"

namespace fovea::explain {
namespace {

constexpr int64_t kShortTokens = 256;
constexpr int64_t kShortBytes = 1'600'000;
constexpr int64_t kLongBytes = 16'000'000;
constexpr std::array<int64_t, 6> kTopKs{256, 128, 64, 32, 16, 8};
constexpr int kFineCodes = 1024;  // of the histogram from which sizes are foretold
constexpr size_t kTopKeys = 5;

using Histogram = std::array<int64_t, kFineCodes>;

// Calls each(query, row [N]) for every query of a head, a block of rows at a time.
template <class Each>
void for_each_row(const PageAttention& attention, int64_t layer, int64_t head, int64_t tokens, Each each) {
  constexpr int64_t kBlockWeights = 1 << 18;  // 1 MB of weights in flight
  const int64_t block =
      std::clamp<int64_t>(kBlockWeights / std::max<int64_t>(tokens, 1), 1, std::max<int64_t>(tokens, 1));
  std::vector<float> rows(static_cast<size_t>(block * tokens));
  for (int64_t begin = 0; begin < tokens; begin += block) {
    const int64_t end = std::min(begin + block, tokens);
    attention.rows(layer, head, begin, end, rows.data());
    for (int64_t query = begin; query < end; ++query) {
      each(query,
           std::span<const float>(rows.data() + (query - begin) * tokens, static_cast<size_t>(tokens)));
    }
  }
}

int64_t visible_keys(const PageAttention& attention, int64_t query, int64_t tokens) {
  return attention.causal ? query + 1 : tokens;
}

// Everything that needs only one look at the exact weights. Adds the weights to the histogram of fine codes.
EncodedHead look_at_head(const PageAttention& attention, int64_t layer, int64_t head, int64_t tokens,
                         int64_t tiles, Histogram& histogram) {
  const auto n = static_cast<size_t>(tokens), side = static_cast<size_t>(tiles);
  EncodedHead encoded;
  HeadFigures& figures = encoded.figures;
  std::vector<double> mass(n), tile_sum(side * side);
  std::vector<float> tile_max(side * side);
  std::vector<int64_t> tile_cells(side * side);
  std::vector<uint8_t> row_entropy(n);
  for_each_row(attention, layer, head, tokens, [&](int64_t query, std::span<const float> row) {
    const int64_t visible = visible_keys(attention, query, tokens);
    double entropy = 0, largest = 0;
    for (int64_t key = 0; key < visible; ++key) {
      const double w = static_cast<double>(row[static_cast<size_t>(key)]);
      if (w > 0) entropy -= w * std::log(w);
      largest = std::max(largest, w);
      figures.distance += w * static_cast<double>(std::abs(query - key));
      mass[static_cast<size_t>(key)] += w;
      const auto tile = static_cast<size_t>(query * tiles / tokens * tiles + key * tiles / tokens);
      tile_sum[tile] += w;
      tile_max[tile] = std::max(tile_max[tile], row[static_cast<size_t>(key)]);
      ++tile_cells[tile];
      ++histogram[static_cast<size_t>(std::clamp(std::sqrt(w), 0.0, 1.0) * (kFineCodes - 1))];
    }
    const double share = visible > 1 ? entropy / std::log(static_cast<double>(visible)) : 0;
    row_entropy[static_cast<size_t>(query)] =
        static_cast<uint8_t>(std::lround(std::clamp(share, 0.0, 1.0) * 255));
    figures.entropy += share;
    figures.strongest += largest;
    figures.self_share += static_cast<double>(row[static_cast<size_t>(query)]);
    figures.first_share += static_cast<double>(row[0]);
  });
  if (tokens > 0) {
    const auto count = static_cast<double>(tokens);
    for (double* figure : {&figures.entropy, &figures.first_share, &figures.self_share, &figures.distance,
                           &figures.strongest}) {
      *figure /= count;
    }
  }
  figures.top_keys.resize(n);
  std::iota(figures.top_keys.begin(), figures.top_keys.end(), int64_t{0});
  const size_t kept = std::min(kTopKeys, n);
  std::partial_sort(figures.top_keys.begin(), figures.top_keys.begin() + static_cast<int64_t>(kept),
                    figures.top_keys.end(), [&](int64_t a, int64_t b) {
                      const double x = mass[static_cast<size_t>(a)], y = mass[static_cast<size_t>(b)];
                      return x != y ? x > y : a < b;
                    });
  figures.top_keys.resize(kept);

  const Quantiser finest = kQuantisers.front();
  std::vector<uint8_t> overview(2 * side * side), key_mass(n);
  for (size_t i = 0; i < side * side; ++i) {
    overview[i] = finest.encode(tile_max[i]);
    const double mean = tile_cells[i] > 0 ? tile_sum[i] / static_cast<double>(tile_cells[i]) : 0;
    overview[side * side + i] = finest.encode(static_cast<float>(mean));
  }
  for (size_t i = 0; i < n; ++i)
    key_mass[i] = finest.encode(static_cast<float>(mass[i] / static_cast<double>(tokens)));
  encoded.overview = deflated_base64(overview);
  encoded.row_entropy = base64(row_entropy);
  encoded.key_mass = base64(key_mass);
  return encoded;
}

// Foretold size in the file of whole rows, from the entropy of their codes. Deflate's Huffman codes need up
// to 3 % more than the entropy; runs of equal codes need less.
double foretold_bytes(const Histogram& histogram, const Quantiser& quantiser) {
  std::array<int64_t, 256> counts{};
  int64_t cells = 0;
  for (int i = 0; i < kFineCodes; ++i) {
    const double root = (i + 0.5) / (kFineCodes - 1);
    counts[quantiser.encode(static_cast<float>(root * root))] += histogram[static_cast<size_t>(i)];
    cells += histogram[static_cast<size_t>(i)];
  }
  double bits = 0;
  for (const int64_t count : counts) {
    if (count > 0)
      bits += static_cast<double>(count) * std::log2(static_cast<double>(cells) / static_cast<double>(count));
  }
  constexpr double kBase64 = 4.0 / 3.0, kHuffman = 1.03;
  return bits / 8 * kBase64 * kHuffman;
}

std::string encode_whole_rows(const PageAttention& attention, int64_t layer, int64_t head, int64_t tokens,
                              const Quantiser& quantiser) {
  std::vector<uint8_t> codes;
  codes.reserve(static_cast<size_t>(attention.causal ? tokens * (tokens + 1) / 2 : tokens * tokens));
  for_each_row(attention, layer, head, tokens, [&](int64_t query, std::span<const float> row) {
    const int64_t visible = visible_keys(attention, query, tokens);
    for (int64_t key = 0; key < visible; ++key)
      codes.push_back(quantiser.encode(row[static_cast<size_t>(key)]));
  });
  return deflated_base64(codes);
}

void put_u16(std::vector<uint8_t>& bytes, int64_t value) {
  bytes.push_back(static_cast<uint8_t>(value & 255));
  bytes.push_back(static_cast<uint8_t>(value >> 8 & 255));
}

// Three planes, so that like bytes lie together: the number of keys in each row (u16), then for every row its
// keys ascending, each as the distance from the one before (u16, low and high bytes apart), then their codes.
std::string encode_strongest_keys(const PageAttention& attention, int64_t layer, int64_t head, int64_t tokens,
                                  int64_t top_k, const Quantiser& quantiser) {
  std::vector<uint8_t> counts, low, high, codes;
  std::vector<int64_t> keys;
  for_each_row(attention, layer, head, tokens, [&](int64_t query, std::span<const float> row) {
    keys.resize(static_cast<size_t>(visible_keys(attention, query, tokens)));
    std::iota(keys.begin(), keys.end(), int64_t{0});
    const auto kept = static_cast<size_t>(std::min(top_k, static_cast<int64_t>(keys.size())));
    std::nth_element(keys.begin(), keys.begin() + static_cast<int64_t>(kept == keys.size() ? kept - 1 : kept),
                     keys.end(), [&](int64_t a, int64_t b) {
                       const float x = row[static_cast<size_t>(a)], y = row[static_cast<size_t>(b)];
                       return x != y ? x > y : a < b;
                     });
    keys.resize(kept);
    std::erase_if(keys, [&](int64_t key) { return quantiser.encode(row[static_cast<size_t>(key)]) == 0; });
    std::sort(keys.begin(), keys.end());
    put_u16(counts, static_cast<int64_t>(keys.size()));
    int64_t before = 0;
    for (const int64_t key : keys) {
      low.push_back(static_cast<uint8_t>((key - before) & 255));
      high.push_back(static_cast<uint8_t>((key - before) >> 8 & 255));
      codes.push_back(quantiser.encode(row[static_cast<size_t>(key)]));
      before = key;
    }
  });
  std::vector<uint8_t>& all = counts;
  for (const std::vector<uint8_t>* plane : {&low, &high, &codes})
    all.insert(all.end(), plane->begin(), plane->end());
  return deflated_base64(all);
}

}  // namespace

EncodedAttention encode_attention(const PageAttention& attention, int64_t tokens,
                                  const PageOptions& options) {
  EncodedAttention encoded;
  encoded.tiles = std::min<int64_t>(tokens, tokens <= kShortTokens ? 32 : 64);
  Histogram histogram{};
  for (int64_t layer = 0; layer < attention.layers; ++layer) {
    for (int64_t head = 0; head < attention.heads; ++head) {
      encoded.heads.push_back(look_at_head(attention, layer, head, tokens, encoded.tiles, histogram));
    }
  }
  int64_t left = options.attention_bytes;
  if (left <= 0) left = tokens <= kShortTokens ? kShortBytes : kLongBytes;
  for (const EncodedHead& head : encoded.heads) {
    left -= static_cast<int64_t>(head.overview.size() + head.row_entropy.size() + head.key_mass.size());
  }

  // Whole rows with the finest quantiser that fits; then ever fewer of the strongest keys.
  const auto fits = [&](const Quantiser& q) {
    return foretold_bytes(histogram, q) <= static_cast<double>(left);
  };
  const auto* whole = tokens <= options.exact_tokens
                          ? std::find_if(kQuantisers.begin(), kQuantisers.end(), fits)
                          : kQuantisers.end();
  encoded.quantiser = whole != kQuantisers.end() ? *whole : Quantiser{2, 255};
  if (whole == kQuantisers.end()) {
    // A kept key costs about a byte of distance and a byte of code, 4/3 of that in base64.
    const auto rows = static_cast<double>(tokens) * static_cast<double>(encoded.heads.size());
    const auto* k = std::find_if(kTopKs.begin(), kTopKs.end(), [&](int64_t top_k) {
      return rows * static_cast<double>(top_k) * 2.5 <= static_cast<double>(left);
    });
    encoded.top_k = std::min(tokens, k != kTopKs.end() ? *k : kTopKs.back());
  }
  for (size_t i = 0; i < encoded.heads.size(); ++i) {
    const int64_t layer = static_cast<int64_t>(i) / attention.heads,
                  head = static_cast<int64_t>(i) % attention.heads;
    encoded.heads[i].rows =
        encoded.top_k == 0
            ? encode_whole_rows(attention, layer, head, tokens, encoded.quantiser)
            : encode_strongest_keys(attention, layer, head, tokens, encoded.top_k, encoded.quantiser);
  }
  return encoded;
}

}  // namespace fovea::explain
