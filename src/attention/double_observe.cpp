#include "attention/double_observe.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "fovea/attention/top_k_places.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kBlock = 64;  // of block masses

int64_t blocks_of(int64_t length) {
  return (length + kBlock - 1) / kBlock;
}

// Lists the k strongest keys of a row, by its logits: weights that round to the same number, or to 0, leave
// their order alone. Ties go to the lower key; a NaN is no key of any list.
void list_strongest(DoubleCall::Range keys, const double* logit, const DoubleCall::Softmax& softmax,
                    int64_t k, int64_t* to, double* weights) {
  Buffer<int64_t> found(static_cast<size_t>(keys.hi - keys.lo));
  int64_t* end = found.data();
  for (int64_t j = keys.lo; j < keys.hi; ++j) {
    if (logit[j] != -kInfinity && !std::isnan(logit[j])) *end++ = j;
  }
  const auto stronger = [logit](int64_t a, int64_t b) {
    return logit[a] > logit[b] || (logit[a] == logit[b] && a < b);
  };
  const int64_t count = std::min<int64_t>(k, end - found.data());
  std::partial_sort(found.data(), found.data() + count, end, stronger);
  for (int64_t s = 0; s < count; ++s) {
    to[s] = found[static_cast<size_t>(s)];
    weights[s] = softmax.weight(logit[to[s]]);
  }
}

// Sums over a row of weights, as Insight names them.
struct Sums {
  double total = 0, squares = 0, distance = 0, first = 0, near = 0;
};

void write(const Sums& sums, int64_t at, const Observers& observers, Insight& seen) {
  const auto put = [at](bool wanted, Tensor& to, double value) {
    if (wanted) to.data<double>()[at] = value;
  };
  put(observers.effective_keys, seen.effective_keys,
      sums.total == 0 ? 0.0 : sums.total * sums.total / sums.squares);
  put(observers.distance, seen.expected_distance, sums.distance);
  put(observers.first_key, seen.first_key_mass, sums.first);
  put(observers.near(), seen.near_mass, sums.near);
}

}  // namespace

void prepare_double_insight(const DoubleCall& call, const Observers& observers, Insight& seen) {
  const int64_t rows = call.in.q.dim(0), heads = call.in.q.dim(1);
  const auto row = [&](bool wanted, Tensor& x) {
    if (wanted) x = Tensor::zeros({rows, heads}, DType::kF64);
  };
  row(observers.entropy, seen.entropy);
  row(observers.max, seen.max_weight);
  row(observers.effective_keys, seen.effective_keys);
  row(observers.distance, seen.expected_distance);
  row(observers.first_key, seen.first_key_mass);
  row(observers.near(), seen.near_mass);
  if (observers.max) seen.max_key = Tensor::full({rows, heads}, -1, DType::kI64);
  if (observers.top_k > 0) {
    const int64_t places = top_k_places(observers.top_k, call.longest());
    seen.top_k_keys = Tensor::full({rows, heads, places}, -1, DType::kI64);
    seen.top_k_weights = Tensor::zeros({rows, heads, places}, DType::kF64);
  }
  if (observers.key_set_count > 0)
    seen.set_mass = Tensor::zeros({rows, heads, observers.key_set_count}, DType::kF64);
  if (observers.key_mass) seen.key_mass = Tensor::zeros({call.in.k.dim(0), heads}, DType::kF64);
  if (observers.block_mass) {
    std::vector<int64_t> sizes;
    for (int64_t n = 0; n < call.r.sequences; ++n)
      sizes.push_back(blocks_of(call.in.rest.q_offsets.length(n)) *
                      blocks_of(call.in.rest.k_offsets.length(n)));
    seen.block_offsets = Offsets::from_lengths(sizes);
    seen.block_mass = Tensor::zeros({seen.block_offsets.total(), heads}, DType::kF64);
  }
}

void look_at(const DoubleCall& call, const DoubleRow& row, DoubleCall::Range keys, const double* logit,
             const DoubleCall::Softmax& softmax, const Observers& observers, Insight& seen) {
  const int64_t at = row.t * call.r.heads + row.h, k0 = call.in.rest.k_offsets.begin(row.n);
  const int64_t place = row.i + call.in.rest.k_offsets.length(row.n) - call.in.rest.q_offsets.length(row.n);
  double entropy = 0, largest = 0;
  int64_t strongest = -1;
  Sums sums;
  const auto surprise = [&softmax](double s) {
    return softmax.weight(s) * (softmax.log_sum - (s - softmax.max));
  };
  if (call.sink_of(row.h) > -kInfinity) entropy += surprise(call.sink_of(row.h));
  for (int64_t j = keys.lo; j < keys.hi; ++j) {
    if (logit[j] == -kInfinity) continue;
    const double weight = softmax.weight(logit[j]);
    entropy += surprise(logit[j]);
    if (!std::isnan(logit[j]) && (strongest < 0 || logit[j] > logit[strongest])) {
      largest = weight;
      strongest = j;
    }
    sums.total += weight;
    sums.squares += weight * weight;
    sums.distance += weight * static_cast<double>(std::abs(place - j));
    if (j == 0) sums.first = weight;
    if (place - j <= observers.near_left && j - place <= observers.near_right) sums.near += weight;
    if (observers.key_set_count > 0) {
      const int32_t set = observers.key_sets[static_cast<size_t>(k0 + j)];
      if (set >= 0) seen.set_mass.data<double>()[at * observers.key_set_count + set] += weight;
    }
  }
  if (observers.entropy) seen.entropy.data<double>()[at] = entropy;
  if (observers.max) {
    seen.max_weight.data<double>()[at] = largest;
    seen.max_key.data<int64_t>()[at] = strongest;
  }
  if (observers.top_k > 0) {
    const int64_t places = seen.top_k_keys.dim(2);
    list_strongest(keys, logit, softmax, places, seen.top_k_keys.data<int64_t>() + at * places,
                   seen.top_k_weights.data<double>() + at * places);
  }
  write(sums, at, observers, seen);
}

void add_masses(const DoubleCall& call, const double* lse, const Observers& observers, Insight& seen) {
  const int64_t heads = call.r.heads;
  parallel_for(call.r.sequences * heads, 1, [&](int64_t begin, int64_t end) {
    Buffer<double> memory(static_cast<size_t>(2 * call.longest()));
    double* logit = memory.data() + call.longest();
    for (int64_t item = begin; item < end; ++item) {
      const int64_t n = item / heads, h = item % heads;
      const int64_t q0 = call.in.rest.q_offsets.begin(n), k0 = call.in.rest.k_offsets.begin(n);
      const int64_t columns = blocks_of(call.in.rest.k_offsets.length(n));
      for (int64_t i = 0; i < call.in.rest.q_offsets.length(n); ++i) {
        if (lse[(q0 + i) * heads + h] == -kInfinity) continue;
        call.row(n, h, i, memory.data(), logit);
        const auto keys = call.keys(n, i);
        const DoubleCall::Softmax softmax = call.softmax(h, keys, logit);
        for (int64_t j = keys.lo; j < keys.hi; ++j) {
          const double weight = softmax.weight(logit[j]);
          if (observers.key_mass) seen.key_mass.data<double>()[(k0 + j) * heads + h] += weight;
          if (observers.block_mass) {
            const int64_t block = seen.block_offsets.begin(n) + i / kBlock * columns + j / kBlock;
            seen.block_mass.data<double>()[block * heads + h] += weight;
          }
        }
      }
    }
  });
}

}  // namespace fovea
