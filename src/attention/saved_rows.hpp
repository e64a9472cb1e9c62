// What the softmax has left of each row, as kernels read it.
#pragma once

#include "fovea/attention/attention.hpp"
#include "fovea/base/memory.hpp"

namespace fovea {

class SavedRows {
 public:
  // Borrows the rows that are given, or makes them of the lse.
  SavedRows(const SoftmaxInput& softmax, int64_t count) : data_(softmax.rows) {
    if (data_ != nullptr || softmax.lse == nullptr) return;
    made_ = Buffer<SoftmaxRow>(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) made_[static_cast<size_t>(i)] = softmax_row_of(softmax.lse[i]);
    data_ = made_.data();
  }
  const SoftmaxRow* data() const { return data_; }  // null: none was given

 private:
  const SoftmaxRow* data_;
  Buffer<SoftmaxRow> made_;
};

// Room for the rows of a forward call that needs them after the pass, though its caller may not.
class OwnRows {
 public:
  OwnRows(SoftmaxOutput& softmax, bool needed, int64_t count) {
    if (!needed || softmax.rows != nullptr) return;
    memory_ = Buffer<SoftmaxRow>(static_cast<size_t>(count));
    softmax.rows = memory_.data();
  }

 private:
  Buffer<SoftmaxRow> memory_;
};

}  // namespace fovea
