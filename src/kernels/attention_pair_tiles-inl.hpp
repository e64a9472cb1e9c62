// Products of bf16 pairs in two-dimensional tiles: C[16][kLanes] += A[16][16 pairs] · B[16 pairs][kLanes].
// The blocking is written once over a small face — zero, load, product, store of numbered tiles — which tile
// registers (Intel AMX) and an exact software implementation both have, so that it is tested on processors
// without AMX. Tiles 0–3 accumulate (row tile · 2 + column tile), 4 and 5 hold A, 6 and 7 hold B: two by two
// tiles give four products for four loads.
#if defined(FOVEA_ATTENTION_PAIR_TILES_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_PAIR_TILES_INL
#undef FOVEA_ATTENTION_PAIR_TILES_INL
#else
#define FOVEA_ATTENTION_PAIR_TILES_INL
#endif

#include "kernels/attention_pairs-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

inline constexpr int64_t kTileSide = 16;  // rows of A and C, pairs of A's columns and B's rows

// The face in memory and float32 arithmetic.
class SoftwareTiles {
 public:
  static void begin() {}
  static void end() {}
  template <int kTile>
  static void zero() {
    const F d;
    for (int64_t i = 0; i < kTileSide; ++i) hn::Store(hn::Zero(d), d, mine(kTile) + i * kTileSide);
  }
  // `columns` 32-bit words of each row: kTileSide for A, kLanes for B and C.
  template <int kTile, int64_t kColumns>
  static void load(const float* x, int64_t ld) {
    for (int64_t i = 0; i < kTileSide; ++i) {
      std::memcpy(mine(kTile) + i * kTileSide, x + i * ld, static_cast<size_t>(kColumns) * sizeof(float));
    }
  }
  template <int kC, int kA, int kB>
  static void product() {
    const F d;
    for (int64_t i = 0; i < kTileSide; ++i) {
      V sum = hn::Load(d, mine(kC) + i * kTileSide);
      for (int64_t p = 0; p < kTileSide; ++p) {
        const V a = hn::Set(d, mine(kA)[i * kTileSide + p]);
        sum = SoftwarePairs::step(a, hn::Load(d, mine(kB) + p * kTileSide), sum);
      }
      hn::Store(sum, d, mine(kC) + i * kTileSide);
    }
  }
  template <int kTile>
  static void store(float* x, int64_t ld) {
    for (int64_t i = 0; i < kTileSide; ++i) {
      std::memcpy(x + i * ld, mine(kTile) + i * kTileSide, static_cast<size_t>(kLanes) * sizeof(float));
    }
  }

 private:
  static float* mine(int tile) {
    alignas(64) static thread_local float tiles[8 * kTileSide * kTileSide];
    return tiles + tile * kTileSide * kTileSide;
  }
};

#if HWY_TARGET == HWY_AVX3
// Tile registers, by assembly, for the rest of the file must run without them. Subnormal numbers count as 0.
class AmxTiles {
 public:
  static void begin() {
    struct {  // palette 1: each tile of 16 rows of 64 bytes
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } config;
    static_assert(sizeof config == 64);
    asm volatile("ldtilecfg %0" : : "m"(config));
  }
  static void end() { asm volatile("tilerelease" ::: "memory"); }
  template <int kTile>
  static HWY_INLINE void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
  }
  template <int kTile, int64_t kColumns>
  static HWY_INLINE void load(const float* x, int64_t ld) {
    static_assert(kColumns == kTileSide);
    asm volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(kTile), "r"(x), "r"(ld * 4) : "memory");
  }
  template <int kC, int kA, int kB>
  static HWY_INLINE void product() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
  }
  template <int kTile>
  static HWY_INLINE void store(float* x, int64_t ld) {
    asm volatile("tilestored %%tmm%c0, (%1,%2,1)" : : "i"(kTile), "r"(x), "r"(ld * 4) : "memory");
  }
};
#endif

// The engine of products over tiles, of any number of rows and any depth: what does not fill a tile is copied
// to one, the rest 0.
template <class Tiles>
struct TileProducts {
  static void begin() { Tiles::begin(); }
  static void end() { Tiles::end(); }

  template <int kVectors, bool kAccumulate>
  static HWY_NOINLINE void product(int64_t rows, int64_t depth, const float* a, int64_t lda, const float* b,
                                   int64_t ldb, float* c, int64_t ldc) {
    for (int64_t i = 0; i < rows; i += 2 * kTileSide) {
      block<kVectors, kAccumulate>(std::min(2 * kTileSide, rows - i), depth, a + i * lda, lda, b, ldb,
                                   c + i * ldc, ldc);
    }
  }

 private:
  template <int kTile, bool kAccumulate>
  static HWY_INLINE void begin_tile(const float* c, int64_t ldc) {
    if (kAccumulate) {
      Tiles::template load<kTile, kLanes>(c, ldc);
    } else {
      Tiles::template zero<kTile>();
    }
  }

  // A tile of A of which `rows` rows and `pairs` columns exist.
  template <int kTile>
  static HWY_INLINE void load_a(const float* a, int64_t lda, int64_t rows, int64_t pairs, float* edge) {
    if (rows >= kTileSide && pairs >= kTileSide) return Tiles::template load<kTile, kTileSide>(a, lda);
    std::memset(edge, 0, sizeof(float) * kTileSide * kTileSide);
    for (int64_t i = 0; i < std::min(rows, kTileSide); ++i) {
      std::memcpy(edge + i * kTileSide, a + i * lda,
                  sizeof(float) * static_cast<size_t>(std::min(pairs, kTileSide)));
    }
    Tiles::template load<kTile, kTileSide>(edge, kTileSide);
  }
  template <int kTile>
  static HWY_INLINE void load_b(const float* b, int64_t ldb, int64_t pairs, float* edge) {
    if (pairs >= kTileSide) return Tiles::template load<kTile, kLanes>(b, ldb);
    std::memset(edge, 0, sizeof(float) * kTileSide * kLanes);
    for (int64_t p = 0; p < pairs; ++p) std::memcpy(edge + p * kLanes, b + p * ldb, sizeof(float) * kLanes);
    Tiles::template load<kTile, kLanes>(edge, kLanes);
  }

  // Up to two row tiles by kVectors column tiles.
  template <int kVectors, bool kAccumulate>
  static HWY_INLINE void block(int64_t rows, int64_t depth, const float* a, int64_t lda, const float* b,
                               int64_t ldb, float* c, int64_t ldc) {
    alignas(64) float a_edge[kTileSide * kTileSide], b_edge[kTileSide * kLanes], c_edge[kTileSide * kPanel];
    const bool two = rows > kTileSide;
    const int64_t last =
        two ? rows - kTileSide : rows;  // rows of the last row tile, through c_edge if not whole
    float* c_last = two ? c + kTileSide * ldc : c;
    float* place = c_last;
    int64_t ld_place = ldc;
    if (last < kTileSide) {
      place = c_edge;
      ld_place = kPanel;
      if (kAccumulate) copy_edge<kVectors>(c_last, ldc, c_edge, kPanel, last);
    }
    float* first = two ? c : place;
    const int64_t ld_first = two ? ldc : ld_place;
    begin_tile<0, kAccumulate>(first, ld_first);
    if constexpr (kVectors == 2) begin_tile<1, kAccumulate>(first + kLanes, ld_first);
    if (two) {
      begin_tile<2, kAccumulate>(place, ld_place);
      if constexpr (kVectors == 2) begin_tile<3, kAccumulate>(place + kLanes, ld_place);
    }
    for (int64_t p = 0; p < depth; p += kTileSide) {
      const int64_t pairs = depth - p;
      load_a<4>(a + p, lda, rows, pairs, a_edge);
      load_b<6>(b + p * ldb, ldb, pairs, b_edge);
      Tiles::template product<0, 4, 6>();
      if constexpr (kVectors == 2) {
        load_b<7>(b + p * ldb + kLanes, ldb, pairs, b_edge);
        Tiles::template product<1, 4, 7>();
      }
      if (!two) continue;
      load_a<5>(a + kTileSide * lda + p, lda, last, pairs, a_edge);
      Tiles::template product<2, 5, 6>();
      if constexpr (kVectors == 2) Tiles::template product<3, 5, 7>();
    }
    Tiles::template store<0>(first, ld_first);
    if constexpr (kVectors == 2) Tiles::template store<1>(first + kLanes, ld_first);
    if (two) {
      Tiles::template store<2>(place, ld_place);
      if constexpr (kVectors == 2) Tiles::template store<3>(place + kLanes, ld_place);
    }
    if (last < kTileSide) copy_edge<kVectors>(c_edge, kPanel, c_last, ldc, last);
  }

  template <int kVectors>
  static HWY_INLINE void copy_edge(const float* from, int64_t ld_from, float* to, int64_t ld_to,
                                   int64_t rows) {
    const F d;
    for (int64_t i = 0; i < rows; ++i) {
      for (int v = 0; v < kVectors; ++v) {
        hn::StoreU(hn::LoadU(d, from + i * ld_from + v * kLanes), d, to + i * ld_to + v * kLanes);
      }
    }
  }
};

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
