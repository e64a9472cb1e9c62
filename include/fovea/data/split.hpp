// Cutting rows into parts (training, validation, test). The same arguments give the same parts on every
// machine.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace fovea::data {

// Each part's rows in ascending order; every row is in exactly one part.
using Parts = std::vector<std::vector<int64_t>>;

// Fractions must be positive and sum to 1 within 1e-6; there are 1 to 16 of them. ArgumentError otherwise.

// Every row by itself. Part i ends at rows · cumulative fraction, rounded, so parts differ from
// their share by less than one row.
Parts split_random(int64_t rows, std::span<const double> fractions, uint64_t seed);

// Each label's rows are cut in the same proportion, again to less than one row; a label with fewer rows than
// parts goes to the parts with the largest share of it first, so a lone row is in the first part when that is
// the largest.
Parts split_stratified(std::span<const std::string_view> labels, std::span<const double> fractions,
                       uint64_t seed);

// Rows of one group stay together (near-copies, one author, one patient): groups in random order, each to the
// part that lacks most rows. Parts are as near to their share as the groups allow.
Parts split_grouped(std::span<const std::string_view> groups, std::span<const double> fractions,
                    uint64_t seed);

}  // namespace fovea::data
