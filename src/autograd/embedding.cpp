#include "fovea/autograd/functions/embedding.hpp"

#include "autograd/support.hpp"
#include "fovea/kernels/elementwise.hpp"
#include "fovea/kernels/embedding.hpp"

namespace fovea::autograd {
namespace {

// Inputs: the table and, for add_embedding, x.
class EmbeddingFunction final : public Function {
 public:
  EmbeddingFunction(Tensor ids, bool adds) : ids_(std::move(ids)), adds_(adds) {}
  const char* name() const override { return adds_ ? "add_embedding" : "embedding"; }
  void backward(Tensor dy) override {
    if (needs(0)) {
      auto [dtable, accumulate] = target(0);
      zero_unless(accumulate, dtable);
      const int64_t rows = dtable.dim(0);
      float* to = dtable.data();
      with_indices(name(), "ids", ids_, dy.dim(0), [&](const auto* ids) {
        kernels::scatter_add_rows(dy.dim(0), dy.dim(1), dy.data(), ids, rows, to);
      });
    }
    if (adds_ && needs(1)) give(1, std::move(dy));
  }

 private:
  Tensor ids_;
  bool adds_;
};

void gather(const char* op, const Var& table, const Tensor& ids, float* out) {
  with_indices(op, "ids", ids, -1, [&](const auto* index) {
    check_range(op, "ids", index, ids.dim(0), -1, table.dim(0));
    kernels::gather_rows(ids.dim(0), table.dim(1), table.value().data(), index, out);
  });
}

}  // namespace

Var embedding(const Var& table, const Tensor& ids) {
  check_rank("embedding", "table", table, 2);
  check_argument(ids.defined() && ids.rank() == 1, "embedding", "expected ids [T], got {}",
                 ids.defined() ? to_string(ids.shape()) : "an undefined tensor");
  Tensor y = Tensor::empty({ids.dim(0), table.dim(1)});
  gather("embedding", table, ids, y.data());
  return record<EmbeddingFunction>(std::move(y), {table}, ids, false);
}

Var add_embedding(const Var& x, const Var& table, const Tensor& ids) {
  check_rank("add_embedding", "x", x, 2);
  check_rank("add_embedding", "table", table, 2);
  check_argument(ids.defined() && ids.shape() == Shape{x.dim(0)} && table.dim(1) == x.dim(1), "add_embedding",
                 "expected x [T, C], table [V, C] and ids [T], got x {}, table {} and ids {}",
                 to_string(x.shape()), to_string(table.shape()),
                 ids.defined() ? to_string(ids.shape()) : "undefined");
  Tensor rows = Tensor::empty(x.shape());
  gather("add_embedding", table, ids, rows.data());
  kernels::add(rows.numel(), x.value().data(), rows.data(), rows.data());
  return record<EmbeddingFunction>(std::move(rows), {table, x}, ids, true);
}

}  // namespace fovea::autograd
