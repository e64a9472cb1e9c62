#!/usr/bin/env python3
"""Prints tests/metrics/golden.hpp: metrics as scikit-learn computes them. Run with: .venv/bin/python (make test makes it)."""
import numpy as np
import sklearn
from sklearn import metrics as m

N, CLASSES = 40, 4
rng = np.random.default_rng(7)
truth = rng.choice([0, 1, 3], size=N, p=[0.5, 0.3, 0.2])  # class 2 never occurs as truth
logits = rng.normal(size=(N, CLASSES)) + 1.5 * np.eye(CLASSES)[truth] - np.array([0, 0, 0.8, 0])
probabilities = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)
probabilities[0] = [0, 1, 0, 0] if truth[0] != 1 else [1, 0, 0, 0]  # a certain mistake
predicted = probabilities.argmax(1)


def array(kind, name, values):
    body = ", ".join(format(v, ".9g") + ("F" if kind == "float" and "." in format(v, ".9g") else "") for v in values)
    print(f"inline constexpr {kind} {name}[] = {{{body}}};")


def number(name, value):
    print(f"inline constexpr double {name} = {float(value):.17g};")


def ece(bins=15):
    confidence = probabilities.max(1).astype(np.float64)
    right = predicted == truth
    total = 0.0
    for b in range(bins):
        inside = (confidence > b / bins) & (confidence <= (b + 1) / bins)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return total


print("// Made by tools/golden/metrics.py with scikit-learn", sklearn.__version__ + "; do not edit.")
print("// clang-format off")
print("#pragma once\n\n#include <cstdint>\n\nnamespace fovea::metrics::golden {\n")
print(f"inline constexpr int64_t kClasses = {CLASSES};")
array("int32_t", "kTruth", truth)
array("int32_t", "kPredicted", predicted)
array("float", "kProbabilities", probabilities.ravel())
array("int64_t", "kConfusion", m.confusion_matrix(truth, predicted, labels=range(CLASSES)).ravel())
number("kAccuracy", m.accuracy_score(truth, predicted))
for average in ("micro", "macro", "weighted"):
    p, r, f, _ = m.precision_recall_fscore_support(truth, predicted, average=average, zero_division=0)
    print(f"inline constexpr double k{average.capitalize()}[] = {{{p:.17g}, {r:.17g}, {f:.17g}}};")
p, r, f, s = m.precision_recall_fscore_support(truth, predicted, labels=range(CLASSES), zero_division=0)
print("inline constexpr double kPerClass[][4] = {" +
      ", ".join(f"{{{a:.17g}, {b:.17g}, {c:.17g}, {d}}}" for a, b, c, d in zip(p, r, f, s)) + "};")
number("kLogLoss", m.log_loss(truth, probabilities, labels=range(CLASSES)))
number("kCalibrationError", ece())
print("\n}  // namespace fovea::metrics::golden\n// clang-format on")
