#include "fovea/data/split.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string_view>
#include <unordered_map>

#include "base/check.hpp"
#include "fovea/base/random.hpp"

namespace fovea::data {

namespace {

void check_fractions(std::span<const double> fractions) {
  check_argument(!fractions.empty() && fractions.size() <= 16, "split", "expected 1 to 16 fractions, got {}",
                 fractions.size());
  double sum = 0.0;
  for (const double fraction : fractions) {
    check_argument(fraction > 0.0, "split", "expected fractions above 0, got {}", fraction);
    sum += fraction;
  }
  check_argument(std::abs(sum - 1.0) <= 1e-6, "split", "expected fractions that sum to 1, got {}", sum);
}

// Rows of equal values together, values in order of first appearance.
std::vector<std::vector<int64_t>> group_rows(std::span<const std::string_view> values) {
  std::unordered_map<std::string_view, size_t> numbers;
  std::vector<std::vector<int64_t>> rows;
  for (size_t i = 0; i < values.size(); ++i) {
    const auto [found, fresh] = numbers.emplace(values[i], rows.size());
    if (fresh) rows.emplace_back();
    rows[found->second].push_back(static_cast<int64_t>(i));
  }
  return rows;
}

Parts sorted(Parts parts) {
  for (auto& part : parts) std::sort(part.begin(), part.end());
  return parts;
}

}  // namespace

Parts split_random(int64_t rows, std::span<const double> fractions, uint64_t seed) {
  check_fractions(fractions);
  check_argument(rows >= 0, "split", "expected a number of rows, got {}", rows);
  std::vector<int64_t> order(static_cast<size_t>(rows));
  std::iota(order.begin(), order.end(), int64_t{0});
  Random random(seed);
  random.shuffle(order);
  Parts parts;
  double cumulative = 0.0;
  int64_t begin = 0;
  for (size_t p = 0; p < fractions.size(); ++p) {
    cumulative += fractions[p];
    const bool last = p + 1 == fractions.size();
    const int64_t end =
        last ? rows : std::min(rows, int64_t{std::llround(static_cast<double>(rows) * cumulative)});
    parts.emplace_back(order.begin() + begin, order.begin() + end);
    begin = end;
  }
  return sorted(std::move(parts));
}

Parts split_stratified(std::span<const std::string_view> labels, std::span<const double> fractions,
                       uint64_t seed) {
  check_fractions(fractions);
  Parts parts(fractions.size());
  Random random(seed);
  for (auto& rows : group_rows(labels)) {
    random.shuffle(rows);
    // Largest remainder: whole shares first, the rows left over to the parts that are short of most.
    std::vector<int64_t> counts;
    std::vector<std::pair<double, size_t>> remainders;
    int64_t given = 0;
    for (size_t p = 0; p < fractions.size(); ++p) {
      const double share = static_cast<double>(rows.size()) * fractions[p];
      // 1e-9: a share that is whole but for rounding counts as whole.
      counts.push_back(static_cast<int64_t>(std::floor(share + 1e-9)));
      given += counts.back();
      remainders.emplace_back(static_cast<double>(counts.back()) - share, p);
    }
    // Ties within rounding go to the earlier part.
    std::stable_sort(remainders.begin(), remainders.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first - 1e-9; });
    for (size_t i = 0; given < static_cast<int64_t>(rows.size()); ++i, ++given) {
      ++counts[remainders[i % remainders.size()].second];
    }
    int64_t begin = 0;
    for (size_t p = 0; p < fractions.size(); ++p) {
      parts[p].insert(parts[p].end(), rows.begin() + begin, rows.begin() + begin + counts[p]);
      begin += counts[p];
    }
  }
  return sorted(std::move(parts));
}

Parts split_grouped(std::span<const std::string_view> groups, std::span<const double> fractions,
                    uint64_t seed) {
  check_fractions(fractions);
  auto members = group_rows(groups);
  Random random(seed);
  random.shuffle(members);
  Parts parts(fractions.size());
  const auto total = static_cast<double>(groups.size());
  for (const auto& rows : members) {
    size_t neediest = 0;
    double most = -total;
    for (size_t p = 0; p < parts.size(); ++p) {
      const double lacking = total * fractions[p] - static_cast<double>(parts[p].size());
      if (lacking > most) {
        most = lacking;
        neediest = p;
      }
    }
    parts[neediest].insert(parts[neediest].end(), rows.begin(), rows.end());
  }
  return sorted(std::move(parts));
}

}  // namespace fovea::data
