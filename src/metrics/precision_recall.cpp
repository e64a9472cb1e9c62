#include "fovea/metrics/precision_recall.hpp"

#include "base/check.hpp"

namespace fovea::metrics {
namespace {

double ratio(int64_t numerator, int64_t denominator) {
  return denominator == 0 ? 0.0 : static_cast<double>(numerator) / static_cast<double>(denominator);
}

PrecisionRecall from_counts(int64_t true_positive, int64_t predicted, int64_t support) {
  return {ratio(true_positive, predicted), ratio(true_positive, support),
          ratio(2 * true_positive, predicted + support), support};
}

PrecisionRecall micro(const ConfusionMatrix& matrix) {
  int64_t correct = 0;
  for (int64_t c = 0; c < matrix.classes(); ++c) correct += matrix.count(c, c);
  return from_counts(correct, matrix.total(), matrix.total());
}

}  // namespace

std::vector<PrecisionRecall> per_class(const ConfusionMatrix& matrix) {
  std::vector<PrecisionRecall> scores;
  for (int64_t c = 0; c < matrix.classes(); ++c) {
    scores.push_back(from_counts(matrix.count(c, c), matrix.predicted(c), matrix.support(c)));
  }
  return scores;
}

PrecisionRecall averaged(const ConfusionMatrix& matrix, Average average) {
  const int64_t total = matrix.total();
  check_argument(total > 0, "averaged", "expected at least one example, got none");
  if (average == Average::kMicro) return micro(matrix);

  PrecisionRecall mean;
  double weights = 0;
  const std::vector<PrecisionRecall> scores = per_class(matrix);
  for (int64_t c = 0; c < matrix.classes(); ++c) {
    const PrecisionRecall& score = scores[static_cast<size_t>(c)];
    const bool occurs = score.support > 0 || matrix.predicted(c) > 0;
    const double weight =
        average == Average::kWeighted ? static_cast<double>(score.support) : static_cast<double>(occurs);
    mean.precision += weight * score.precision;
    mean.recall += weight * score.recall;
    mean.f1 += weight * score.f1;
    weights += weight;
  }
  return {mean.precision / weights, mean.recall / weights, mean.f1 / weights, total};
}

}  // namespace fovea::metrics
