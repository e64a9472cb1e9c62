// How good a model is, as the page shows it: from predictions on held-back rows, and from the course of its
// training.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fovea/explain/page.hpp"

namespace fovea::explain {

// Accuracy and macro-F1 with 95 % bootstrap intervals, log loss, expected calibration error, scores by class,
// confusion matrix and calibration of truth [N] and probabilities [N, classes]. `split` says which rows:
// "test". Without rows everything stays empty. ArgumentError as metrics::classification_report.
PageQuality classification_quality(std::span<const std::string> classes, std::span<const int32_t> truth,
                                   std::span<const float> probabilities, const std::string& split);

// The curves of a metrics.jsonl: "loss" and "learning_rate" of the steps, and every figure of the
// validations. A curve longer than `points` is thinned to the means of equal stretches. Lines of another kind
// are skipped; a missing file gives none. DataError for a line that is not JSON, but for the last one, which
// a killed run may have left unfinished.
std::vector<PageCurve> read_curves(const std::string& path, int64_t points = 400);

}  // namespace fovea::explain
