#include "fovea/autograd/functions/rows.hpp"

#include <gtest/gtest.h>

#include "fovea/autograd/functions/embedding.hpp"
#include "fovea/autograd/functions/pooling.hpp"
#include "fovea/base/error.hpp"
#include "tests/autograd/registry.hpp"
#include "tests/support/expect_error.hpp"

namespace fovea::autograd {
namespace {

constexpr int64_t kCols = 5;

std::string text(int64_t n) {
  return std::to_string(n);
}

Array picked(const Array& table, const std::vector<int64_t>& ids) {
  Array y = reference::zeros({static_cast<int64_t>(ids.size()), table.dim(1)});
  for (int64_t i = 0; i < y.dim(0); ++i) {
    const int64_t id = ids[static_cast<size_t>(i)];
    for (int64_t c = 0; c < y.dim(1) && id >= 0; ++c) y.at(i, c) = table.at(id, c);
  }
  return y;
}

// One column count per size, one id type per parity.
std::vector<GradientCase> picking(Var (*op)(std::vector<Var>&, const Tensor&), bool adds) {
  std::vector<GradientCase> cases;
  for (const int64_t n : awkward_sizes()) {
    for (const int64_t cols : {int64_t{3}, int64_t{17}}) {
      const std::vector<int64_t> ids = random_ids(n, -1, 11, 5);
      const Tensor indices = to_tensor(ids, cols == 3 ? DType::kI32 : DType::kI64);
      GradientCase c{.label = text(n) + "x" + text(cols),
                     .inputs = {random_array({11, cols}, 1)},
                     .op = [op, indices](auto& in) { return op(in, indices); },
                     .reference =
                         [ids, adds](const auto& in) {
                           Array y = picked(in[0], ids);
                           for (int64_t i = 0; adds && i < y.size(); ++i) y.at(i) += in[1].at(i);
                           return y;
                         },
                     .depth = static_cast<double>(n)};
      if (adds) c.inputs.push_back(random_array({n, cols}, 2));
      cases.push_back(c);
    }
  }
  return cases;
}

FOVEA_GRADIENT_CASES(embedding) {
  return picking([](auto& in, const Tensor& ids) { return embedding(in[0], ids); }, false);
}
FOVEA_GRADIENT_CASES(add_embedding) {
  return picking([](auto& in, const Tensor& ids) { return add_embedding(in[1], in[0], ids); }, true);
}
FOVEA_GRADIENT_CASES(gather_rows) {
  return picking([](auto& in, const Tensor& ids) { return gather_rows(in[0], ids); }, false);
}

FOVEA_GRADIENT_CASES(reshape) {
  std::vector<GradientCase> cases;
  for (const int64_t n : awkward_sizes()) {
    cases.push_back({.label = text(n),
                     .inputs = {random_array({n, 4}, 1)},
                     .op =
                         [n](auto& in) {
                           return reshape(in[0], {2, n, 2});
                         },
                     .reference =
                         [n](const auto& in) {
                           return Array{{2, n, 2}, in[0].data};
                         }});
  }
  return cases;
}

FOVEA_GRADIENT_CASES(slice_rows) {
  std::vector<GradientCase> cases;
  for (const int64_t n : awkward_sizes()) {
    const int64_t begin = n / 3;
    const int64_t end = n - n / 4;
    cases.push_back({.label = text(n),
                     .inputs = {random_array({n, kCols}, 1)},
                     .op = [begin, end](auto& in) { return slice_rows(in[0], begin, end); },
                     .reference =
                         [begin, end](const auto& in) {
                           const auto at = in[0].data.begin();
                           return Array{{end - begin, kCols}, {at + begin * kCols, at + end * kCols}};
                         }});
  }
  return cases;
}

FOVEA_GRADIENT_CASES(slice_columns) {
  std::vector<GradientCase> cases;
  for (const int64_t n : awkward_sizes()) {
    const int64_t begin = n / 3;
    const int64_t end = n - n / 4;
    cases.push_back({.label = text(n),
                     .inputs = {random_array({7, n}, 1)},
                     .op = [begin, end](auto& in) { return slice_columns(in[0], begin, end); },
                     .reference =
                         [begin, end](const auto& in) {
                           Array y = reference::zeros({7, end - begin});
                           for (int64_t r = 0; r < 7; ++r) {
                             for (int64_t c = begin; c < end; ++c) y.at(r, c - begin) = in[0].at(r, c);
                           }
                           return y;
                         }});
  }
  return cases;
}

FOVEA_GRADIENT_CASES(concat_rows) {
  std::vector<GradientCase> cases;
  for (const int64_t n : awkward_sizes()) {
    cases.push_back(
        {.label = text(n),
         .inputs = {random_array({n, kCols}, 1), random_array({0, kCols}, 2), random_array({3, kCols}, 3)},
         .op = [](auto& in) { return concat_rows(in); },
         .reference =
             [n](const auto& in) {
               Array y{{n + 3, kCols}, in[0].data};
               y.data.insert(y.data.end(), in[2].data.begin(), in[2].data.end());
               return y;
             }});
  }
  return cases;
}

FOVEA_GRADIENT_CASES(concat_columns) {
  std::vector<GradientCase> cases;
  for (const int64_t n : awkward_sizes()) {
    cases.push_back({.label = text(n),
                     .inputs = {random_array({3, n}, 1), random_array({3, 2}, 2)},
                     .op = [](auto& in) { return concat_columns(in); },
                     .reference =
                         [n](const auto& in) {
                           Array y = reference::zeros({3, n + 2});
                           for (int64_t r = 0; r < 3; ++r) {
                             for (int64_t c = 0; c < n + 2; ++c)
                               y.at(r, c) = c < n ? in[0].at(r, c) : in[1].at(r, c - n);
                           }
                           return y;
                         }});
  }
  return cases;
}

// A case a size; f(offsets, inputs) is the reference.
template <class Op, class F>
std::vector<GradientCase> segments(Op op, F f, bool weighted = false) {
  std::vector<GradientCase> cases;
  for (const int64_t n : awkward_sizes()) {
    for (const int64_t cols : {int64_t{1}, int64_t{33}}) {
      const Offsets offsets = awkward_offsets(n);
      GradientCase c{.label = text(n) + "x" + text(cols),
                     .inputs = {random_array({n, cols}, 1)},
                     .op = [op, offsets](auto& in) { return op(in, offsets); },
                     .reference = [f, offsets](const auto& in) { return f(in, offsets); },
                     .depth = 64};
      if (weighted) c.inputs.push_back(random_array({n}, 2));
      cases.push_back(c);
    }
  }
  return cases;
}

Array weighted_sum(const Array& x, const Offsets& o,
                   const std::function<double(int64_t n, int64_t t)>& weight) {
  Array y = reference::zeros({o.count(), x.dim(1)});
  for (int64_t n = 0; n < o.count(); ++n) {
    for (int64_t t = o.begin(n); t < o.end(n); ++t) {
      for (int64_t c = 0; c < x.dim(1); ++c) y.at(n, c) += weight(n, t) * x.at(t, c);
    }
  }
  return y;
}

FOVEA_GRADIENT_CASES(repeat_rows) {
  std::vector<GradientCase> cases;
  for (const int64_t n : awkward_sizes()) {
    const Offsets offsets = awkward_offsets(n);
    cases.push_back({.label = text(n),
                     .inputs = {random_array({offsets.count(), kCols}, 1)},
                     .op = [offsets](auto& in) { return repeat_rows(in[0], offsets); },
                     .reference =
                         [offsets](const auto& in) {
                           Array y = reference::zeros({offsets.total(), kCols});
                           for (int64_t s = 0; s < offsets.count(); ++s) {
                             for (int64_t t = offsets.begin(s); t < offsets.end(s); ++t) {
                               for (int64_t c = 0; c < kCols; ++c) y.at(t, c) = in[0].at(s, c);
                             }
                           }
                           return y;
                         },
                     .depth = 64});
  }
  return cases;
}

FOVEA_GRADIENT_CASES(sum_pool) {
  return segments([](auto& in, const Offsets& o) { return sum_pool(in[0], o); },
                  [](const auto& in, const Offsets& o) {
                    return weighted_sum(in[0], o, [](int64_t, int64_t) { return 1.0; });
                  });
}
FOVEA_GRADIENT_CASES(mean_pool) {
  return segments([](auto& in, const Offsets& o) { return mean_pool(in[0], o); },
                  [](const auto& in, const Offsets& o) {
                    return weighted_sum(
                        in[0], o, [&](int64_t n, int64_t) { return 1 / static_cast<double>(o.length(n)); });
                  });
}
FOVEA_GRADIENT_CASES(max_pool) {
  std::vector<GradientCase> cases =
      segments([](auto& in, const Offsets& o) { return max_pool(in[0], o); },
               [](const auto& in, const Offsets& o) {
                 Array y = reference::zeros({o.count(), in[0].dim(1)});
                 for (int64_t n = 0; n < o.count(); ++n) {
                   for (int64_t t = o.begin(n); t < o.end(n); ++t) {
                     for (int64_t c = 0; c < y.dim(1); ++c) {
                       y.at(n, c) = t == o.begin(n) ? in[0].at(t, c) : std::max(y.at(n, c), in[0].at(t, c));
                     }
                   }
                 }
                 return y;
               });
  // No two tokens of a sequence (64 at the most) closer than 1/101: the maximum has a kink where they are
  // equal.
  for (GradientCase& c : cases) {
    for (int64_t i = 0; i < c.inputs[0].size(); ++i) {
      const int64_t cols = c.inputs[0].dim(1);
      c.inputs[0].at(i) =
          static_cast<double>(static_cast<float>((i / cols * 37 + i % cols * 11) % 101) / 101.0f);
    }
  }
  return cases;
}

FOVEA_GRADIENT_CASES(first_token) {
  return segments([](auto& in, const Offsets& o) { return first_token(in[0], o); },
                  [](const auto& in, const Offsets& o) {
                    return weighted_sum(in[0], o,
                                        [&](int64_t n, int64_t t) { return t == o.begin(n) ? 1.0 : 0.0; });
                  });
}
FOVEA_GRADIENT_CASES(last_token) {
  return segments([](auto& in, const Offsets& o) { return last_token(in[0], o); },
                  [](const auto& in, const Offsets& o) {
                    return weighted_sum(in[0], o,
                                        [&](int64_t n, int64_t t) { return t == o.end(n) - 1 ? 1.0 : 0.0; });
                  });
}
FOVEA_GRADIENT_CASES(weighted_pool) {
  return segments([](auto& in, const Offsets& o) { return weighted_pool(in[0], in[1], o); },
                  [](const auto& in, const Offsets& o) {
                    return weighted_sum(in[0], o, [&](int64_t, int64_t t) { return in[1].at(t); });
                  },
                  true);
}
FOVEA_GRADIENT_CASES(attention_pool) {
  return segments(
      [](auto& in, const Offsets& o) { return attention_pool(in[0], in[1], o); },
      [](const auto& in, const Offsets& o) {
        return weighted_sum(in[0], o, [&](int64_t n, int64_t t) {
          return std::exp(in[1].at(t) - reference::log_sum_exp(in[1].data.data() + o.begin(n), o.length(n)));
        });
      },
      true);
}

TEST(Rows, ViewsShareMemory) {
  const Var x = Tensor::zeros({4, 6});
  EXPECT_EQ(reshape(x, {6, 4}).value().data(), x.value().data());
  EXPECT_EQ(slice_rows(x, 1, 3).value().data(), x.value().data() + 6);
}

TEST(Rows, AttentionPoolReturnsItsWeights) {
  Tensor weights;
  attention_pool(Tensor::zeros({2, 3}), Tensor::zeros({2}), Offsets::single(2), &weights);
  EXPECT_EQ(weights.data()[0], 0.5f);
}

TEST(Rows, MisuseIsNamed) {
  const Var x = Tensor::zeros({2, 3});
  EXPECT_ERROR(embedding(x, to_tensor({0, 2})), ArgumentError,
               "[embedding] expected ids in [-1, 2), got 2 at 1");
  EXPECT_ERROR(gather_rows(x, Tensor::zeros({2})), ArgumentError,
               "[gather_rows] expected ids of int32 or int64, got float32");
  EXPECT_ERROR(slice_columns(x, 2, 4), ArgumentError,
               "[slice_columns] expected columns within [0, 3], got [2, 4)");
  EXPECT_ERROR(concat_rows({}), ArgumentError, "[concat_rows] expected at least one part");
  EXPECT_ERROR(mean_pool(x, Offsets::single(3)), ArgumentError,
               "[mean_pool] expected offsets that end at the 2 tokens of x, got 3");
}

}  // namespace
}  // namespace fovea::autograd
