#include "formats/segmentation.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <queue>

namespace fovea::formats {

namespace {

uint64_t edge_key(int32_t node, unsigned char byte) {
  return static_cast<uint64_t>(node) << 8 | byte;
}

size_t slot_of(uint64_t key, size_t mask) {
  return static_cast<size_t>(key * 0x9E3779B97F4A7C15u >> 20) & mask;
}

}  // namespace

void PieceTrie::grow() {
  std::vector<Edge> old = std::move(table_);
  table_.assign(std::max<size_t>(1024, old.size() * 2), Edge{});
  used_ = 0;
  for (const Edge& edge : old) {
    if (edge.node >= 0) insert(edge.key, edge.node);
  }
}

void PieceTrie::insert(uint64_t key, int32_t node) {
  if (2 * (used_ + 1) > table_.size()) grow();
  const size_t mask = table_.size() - 1;
  size_t slot = slot_of(key, mask);
  while (table_[slot].node >= 0) slot = (slot + 1) & mask;
  table_[slot] = {key, node};
  ++used_;
}

void PieceTrie::add(std::string_view piece, int32_t id) {
  int32_t node = kRoot;
  for (const char c : piece) {
    const auto byte = static_cast<unsigned char>(c);
    int32_t next = step(node, byte);
    if (next < 0) {
      next = static_cast<int32_t>(ids_.size());
      ids_.push_back(-1);
      insert(edge_key(node, byte), next);
    }
    node = next;
  }
  ids_[static_cast<size_t>(node)] = id;
}

int32_t PieceTrie::step(int32_t node, unsigned char byte) const {
  if (table_.empty()) return -1;
  const uint64_t key = edge_key(node, byte);
  const size_t mask = table_.size() - 1;
  for (size_t slot = slot_of(key, mask); table_[slot].node >= 0; slot = (slot + 1) & mask) {
    if (table_[slot].key == key) return table_[slot].node;
  }
  return -1;
}

namespace {

struct Arc {
  size_t begin;
  int32_t id;
  double weight;  // forward(begin) + strength · score
};

double log_sum(double a, double b) {
  if (a < b) std::swap(a, b);
  return std::isinf(b) ? a : a + std::log1p(std::exp(b - a));
}

}  // namespace

std::vector<Segment> sample_unigram(const PieceModel& model, const Units& units, double strength,
                                    RandomKey key) {
  const size_t count = units.size();
  Random random(key);
  std::vector<Segment> result;
  std::vector<Segment> word;           // of the current stretch, last first
  std::vector<std::vector<Arc>> arcs;  // arcs[i]: pieces that end at unit start + i + 1
  std::vector<double> forward;         // forward[i]: log-sum over segmentations of units [start, start + i)
  for (size_t start = 0; start < count;) {
    forward.assign(1, 0.0);
    for (auto& list : arcs) list.clear();
    size_t reach = start + 1;  // no arc so far ends beyond
    for (size_t at = start; at < reach; ++at) {
      bool alone = false;
      int32_t node = PieceTrie::kRoot;
      const double here = forward[at - start];
      const auto add = [&](size_t end, int32_t id, float score) {
        reach = std::max(reach, end);
        if (forward.size() <= end - start)
          forward.resize(end - start + 1, -std::numeric_limits<double>::infinity());
        if (arcs.size() < end - start) arcs.resize(end - start);
        const double weight = here + strength * static_cast<double>(score);
        arcs[end - start - 1].push_back({at, id, weight});
        forward[end - start] = log_sum(forward[end - start], weight);
      };
      for (size_t unit = at; unit < count && node >= 0; ++unit) {
        for (auto b = units.offsets[unit]; b < units.offsets[unit + 1] && node >= 0; ++b) {
          node = model.trie.step(node, static_cast<unsigned char>(units.text[static_cast<size_t>(b)]));
        }
        if (node < 0) break;
        const int32_t id = model.trie.piece(node);
        if (id < 0) continue;
        alone = alone || unit == at;
        add(unit + 1, id, model.scores[static_cast<size_t>(id)]);
      }
      if (!alone) add(at + 1, -1, model.unknown_score);
    }
    word.clear();
    for (size_t end = reach; end > start;) {
      const auto& incoming = arcs[end - start - 1];
      double left = random.uniform_double();
      size_t chosen = 0;
      for (; chosen + 1 < incoming.size(); ++chosen) {
        left -= std::exp(incoming[chosen].weight - forward[end - start]);
        if (left < 0.0) break;
      }
      word.push_back({incoming[chosen].begin, end, incoming[chosen].id});
      end = incoming[chosen].begin;
    }
    result.insert(result.end(), word.rbegin(), word.rend());
    start = reach;
  }
  return result;
}

std::vector<Segment> sample_bpe(const PieceModel& model, const Units& units, double dropout, RandomKey key) {
  constexpr size_t kNone = ~size_t{0};
  struct Symbol {
    size_t previous, next;
    size_t begin, end;  // units; end == begin once merged away
    int32_t id;
  };
  struct Merge {
    float score;
    size_t left, right;
    size_t units;  // of both: a stale merge has another number
    int32_t id;
    // Best first; ties leftmost first.
    bool operator<(const Merge& other) const {
      return score != other.score ? score < other.score : left > other.left;
    }
  };
  const auto lookup = [&](size_t begin, size_t end) {
    int32_t node = PieceTrie::kRoot;
    for (auto b = units.offsets[begin]; b < units.offsets[end] && node >= 0; ++b) {
      node = model.trie.step(node, static_cast<unsigned char>(units.text[static_cast<size_t>(b)]));
    }
    return node < 0 ? -1 : model.trie.piece(node);
  };
  Random random(key);
  const size_t count = units.size();
  std::vector<Symbol> symbols(count);
  std::priority_queue<Merge> merges;
  const auto offer = [&](size_t left, size_t right) {
    if (left == kNone || right == kNone) return;
    const int32_t id = lookup(symbols[left].begin, symbols[right].end);
    if (id < 0) return;
    merges.push(
        {model.scores[static_cast<size_t>(id)], left, right, symbols[right].end - symbols[left].begin, id});
  };
  for (size_t i = 0; i < count; ++i) {
    symbols[i] = {i == 0 ? kNone : i - 1, i + 1 == count ? kNone : i + 1, i, i + 1, lookup(i, i + 1)};
  }
  for (size_t i = 0; i + 1 < count; ++i) offer(i, i + 1);
  while (!merges.empty()) {
    const Merge merge = merges.top();
    merges.pop();
    Symbol& left = symbols[merge.left];
    Symbol& right = symbols[merge.right];
    if (left.begin == left.end || right.begin == right.end || right.end - left.begin != merge.units) continue;
    if (dropout > 0.0 && random.uniform_double() < dropout) continue;
    left.end = right.end;
    left.id = merge.id;
    left.next = right.next;
    right.begin = right.end;
    if (left.next != kNone) symbols[left.next].previous = merge.left;
    offer(left.previous, merge.left);
    offer(merge.left, left.next);
  }
  std::vector<Segment> result;
  for (size_t i = 0; i < count; i = symbols[i].next == kNone ? count : symbols[i].next) {
    result.push_back({symbols[i].begin, symbols[i].end, symbols[i].id});
  }
  return result;
}

}  // namespace fovea::formats
