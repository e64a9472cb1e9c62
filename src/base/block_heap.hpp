// Large blocks of the pool: regions from the system, cut into pieces and joined again when these are free. So
// what a forward pass kept serves, piece by piece, the gradients that take its place. Not thread-safe.
// Internal.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace fovea {

class BlockHeap {
 public:
  // The smallest free piece that holds `bytes`, or null; of equal ones the first in memory, so that a step
  // that asks for the same as the one before is given the same.
  void* take(size_t bytes) {
    auto best = pieces_.end();
    for (auto it = pieces_.begin(); it != pieces_.end(); ++it) {
      if (it->bytes >= bytes && (best == pieces_.end() || it->bytes < best->bytes)) best = it;
    }
    if (best == pieces_.end()) return nullptr;
    char* const begin = best->begin;
    best->begin += bytes;
    best->bytes -= bytes;
    if (best->bytes == 0) pieces_.erase(best);
    return begin;
  }

  // Takes over a region of the system that is wholly in use.
  void add_region(void* begin, size_t bytes) {
    const Piece region{static_cast<char*>(begin), bytes};
    regions_.insert(place(regions_, region.begin), region);
  }

  // Frees [begin, begin + bytes), part of a region, and joins it with its free neighbours there.
  void give(void* begin, size_t bytes) {
    Piece piece{static_cast<char*>(begin), bytes};
    auto next = place(pieces_, piece.begin);
    if (next != pieces_.end() && next->begin == piece.end() && !begins_region(next->begin)) {
      piece.bytes += next->bytes;
      next = pieces_.erase(next);
    }
    if (next != pieces_.begin() && (next - 1)->end() == piece.begin && !begins_region(piece.begin)) {
      (next - 1)->bytes += piece.bytes;
    } else {
      pieces_.insert(next, piece);
    }
  }

  // Hands every wholly free region to `free` and forgets it; returns their bytes.
  template <class Free>
  size_t release(Free&& free) {
    size_t released = 0;
    for (size_t i = 0; i < pieces_.size();) {
      const Piece piece = pieces_[i];
      const auto region = place(regions_, piece.begin);
      if (region == regions_.end() || region->begin != piece.begin || region->bytes != piece.bytes) {
        ++i;
        continue;
      }
      pieces_.erase(pieces_.begin() + static_cast<std::ptrdiff_t>(i));
      regions_.erase(region);
      released += piece.bytes;
      free(static_cast<void*>(piece.begin));
    }
    return released;
  }

 private:
  struct Piece {
    char* begin;
    size_t bytes;
    char* end() const { return begin + bytes; }
  };

  // Some dozens to hundreds of entries, sorted by address: a vector is quicker than a tree.
  static std::vector<Piece>::iterator place(std::vector<Piece>& list, const char* begin) {
    return std::lower_bound(list.begin(), list.end(), begin,
                            [](const Piece& piece, const char* p) { return piece.begin < p; });
  }
  bool begins_region(const char* begin) {
    const auto region = place(regions_, begin);
    return region != regions_.end() && region->begin == begin;
  }

  std::vector<Piece> pieces_;   // free, not adjacent within a region
  std::vector<Piece> regions_;  // all
};

}  // namespace fovea
