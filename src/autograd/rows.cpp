#include "fovea/autograd/functions/rows.hpp"

#include "autograd/support.hpp"
#include "fovea/kernels/elementwise.hpp"
#include "fovea/kernels/embedding.hpp"
#include "fovea/kernels/segments.hpp"

namespace fovea::autograd {
namespace {

class ReshapeFunction final : public Function {
 public:
  explicit ReshapeFunction(const Shape& from) : from_(from) {}
  const char* name() const override { return "reshape"; }
  void backward(Tensor dy) override {
    Tensor dx = dy.reshape(from_);
    dy = {};  // so that dx is the only handle
    give(0, std::move(dx));
  }

 private:
  Shape from_;
};

class GatherRowsFunction final : public Function {
 public:
  explicit GatherRowsFunction(Tensor ids) : ids_(std::move(ids)) {}
  const char* name() const override { return "gather_rows"; }
  void backward(Tensor dy) override {
    auto [dx, accumulate] = target(0);
    zero_unless(accumulate, dx);
    const int64_t rows = dx.dim(0);
    float* to = dx.data();
    with_indices("gather_rows", "ids", ids_, -1, [&](const auto* ids) {
      kernels::scatter_add_rows(dy.dim(0), dy.dim(1), dy.data(), ids, rows, to);
    });
  }

 private:
  Tensor ids_;
};

// dy is the block of dx that starts at (row, column).
class SliceFunction final : public Function {
 public:
  SliceFunction(int64_t row, int64_t column) : row_(row), column_(column) {}
  const char* name() const override { return "slice"; }
  void backward(Tensor dy) override {
    auto [dx, accumulate] = target(0);
    zero_unless(accumulate, dx);
    const int64_t stride = dx.dim(1);
    kernels::add_rows(dy.dim(0), dy.dim(1), dy.data(), dy.dim(1), dx.data() + row_ * stride + column_,
                      stride);
  }

 private:
  int64_t row_, column_;
};

// Input i stands at start i of dy; the pieces' sizes are the nodes' own.
class ConcatFunction final : public Function {
 public:
  ConcatFunction(int64_t parts, bool columns) : parts_(parts), columns_(columns) {}
  const char* name() const override { return columns_ ? "concat_columns" : "concat_rows"; }
  Buffer<int64_t> sizes;

  void backward(Tensor dy) override {
    int64_t start = 0;
    for (int i = 0; i < static_cast<int>(parts_); ++i) {
      const int64_t size = sizes[static_cast<size_t>(i)];
      if (needs(i)) {
        auto [dx, accumulate] = target(i);
        const float* from = dy.data() + (columns_ ? start : start * dy.dim(1));
        const int64_t rows = columns_ ? dy.dim(0) : size;
        const int64_t cols = columns_ ? size : dy.dim(1);
        if (accumulate) {
          kernels::add_rows(rows, cols, from, dy.dim(1), dx.data(), cols);
        } else {
          kernels::copy_rows(rows, cols, from, dy.dim(1), dx.data(), cols);
        }
      }
      start += size;
    }
  }

 private:
  int64_t parts_;
  bool columns_;
};

class RepeatRowsFunction final : public Function {
 public:
  explicit RepeatRowsFunction(Offsets offsets) : offsets_(std::move(offsets)) {}
  const char* name() const override { return "repeat_rows"; }
  void backward(Tensor dy) override {
    Tensor dx = Tensor::empty({offsets_.count(), dy.dim(1)});
    kernels::segment_sum_forward(offsets_.count(), dy.dim(1), offsets_.values().data(), dy.data(), dx.data());
    give(0, std::move(dx));
  }

 private:
  Offsets offsets_;
};

Var concat(const char* op, std::span<const Var> parts, bool columns) {
  check_argument(!parts.empty(), op, "expected at least one part");
  const int along = columns ? 1 : 0;
  const int across = 1 - along;
  int64_t total = 0;
  bool wanted = false;
  for (const Var& part : parts) {
    check_rank(op, "each part", part, 2);
    check_argument(part.dim(across) == parts[0].dim(across), op, "expected parts of {} {}, got {}",
                   parts[0].dim(across), columns ? "rows" : "columns", to_string(part.shape()));
    total += part.dim(along);
    wanted = wanted || recording({&part});
  }
  Tensor y = Tensor::empty(columns ? Shape{parts[0].dim(0), total} : Shape{total, parts[0].dim(1)});
  int64_t start = 0;
  for (const Var& part : parts) {
    float* to = y.data() + (columns ? start : start * y.dim(1));
    kernels::copy_rows(part.dim(0), part.dim(1), part.value().data(), part.dim(1), to, y.dim(1));
    start += part.dim(along);
  }
  if (!wanted) return Var(std::move(y));
  auto function = std::make_unique<ConcatFunction>(static_cast<int64_t>(parts.size()), columns);
  function->sizes = Buffer<int64_t>(parts.size());
  for (size_t i = 0; i < parts.size(); ++i) function->sizes[i] = parts[i].dim(along);
  return Tape::current()->add(std::move(function), std::move(y), parts);
}

}  // namespace

Var reshape(const Var& x, const Shape& shape) {
  check_argument(x.defined(), "reshape", "expected a defined x");
  return record<ReshapeFunction>(x.value().reshape(shape), {x}, x.shape());
}

Var gather_rows(const Var& x, const Tensor& ids) {
  check_rank("gather_rows", "x", x, 2);
  Tensor y;
  with_indices("gather_rows", "ids", ids, -1, [&](const auto* index) {
    check_range("gather_rows", "ids", index, ids.dim(0), -1, x.dim(0));
    y = Tensor::empty({ids.dim(0), x.dim(1)});
    kernels::gather_rows(ids.dim(0), x.dim(1), x.value().data(), index, y.data());
  });
  return record<GatherRowsFunction>(std::move(y), {x}, ids);
}

Var slice_rows(const Var& x, int64_t begin, int64_t end) {
  check_rank("slice_rows", "x", x, 2);
  check_argument(0 <= begin && begin <= end && end <= x.dim(0), "slice_rows",
                 "expected rows within [0, {}], got [{}, {})", x.dim(0), begin, end);
  return record<SliceFunction>(x.value().rows(begin, end), {x}, begin, int64_t{0});
}

Var slice_columns(const Var& x, int64_t begin, int64_t end) {
  check_rank("slice_columns", "x", x, 2);
  check_argument(0 <= begin && begin <= end && end <= x.dim(1), "slice_columns",
                 "expected columns within [0, {}], got [{}, {})", x.dim(1), begin, end);
  Tensor y = Tensor::empty({x.dim(0), end - begin});
  kernels::copy_rows(y.dim(0), y.dim(1), x.value().data() + begin, x.dim(1), y.data(), y.dim(1));
  return record<SliceFunction>(std::move(y), {x}, int64_t{0}, begin);
}

Var concat_rows(std::span<const Var> parts) {
  return concat("concat_rows", parts, false);
}

Var concat_columns(std::span<const Var> parts) {
  return concat("concat_columns", parts, true);
}

Var repeat_rows(const Var& x, const Offsets& offsets) {
  check_rank("repeat_rows", "x", x, 2);
  check_argument(offsets.count() == x.dim(0), "repeat_rows", "expected offsets of {} sequences, got {}",
                 x.dim(0), offsets.count());
  Tensor y = Tensor::empty({offsets.total(), x.dim(1)});
  // The gradient of a sum: dy of each sequence to all of its tokens.
  kernels::segment_sum_backward(offsets.count(), x.dim(1), offsets.values().data(), x.value().data(),
                                y.data());
  return record<RepeatRowsFunction>(std::move(y), {x}, offsets);
}

}  // namespace fovea::autograd
