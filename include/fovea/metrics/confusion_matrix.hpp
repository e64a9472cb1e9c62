// The confusion matrix: how often each true class was predicted as each class. A value; copies are
// independent.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fovea::metrics {

// Class numbers given to its members are not checked.
class ConfusionMatrix {
 public:
  // Counts [classes, classes] of truth [N] and predicted [N]; N may be 0. ArgumentError when the lengths
  // differ or a class number is outside [0, classes).
  ConfusionMatrix(std::span<const int32_t> truth, std::span<const int32_t> predicted, int64_t classes);

  // Rows, and columns.
  int64_t classes() const { return classes_; }
  // Examples of class `truth` that were predicted as `predicted`.
  int64_t count(int64_t truth, int64_t predicted) const {
    return counts_[static_cast<size_t>(truth * classes_ + predicted)];
  }
  // Examples whose true class this is (a row's sum).
  int64_t support(int64_t truth) const;
  // Examples that were predicted as this class (a column's sum).
  int64_t predicted(int64_t predicted) const;
  // All examples, N.
  int64_t total() const;
  // Row-major, rows are true classes.
  std::span<const int64_t> counts() const { return counts_; }

 private:
  int64_t classes_;
  std::vector<int64_t> counts_;
};

}  // namespace fovea::metrics
