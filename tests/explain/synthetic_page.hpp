// Page data without a model: heads of the kinds that real models show (local, first token, same word, broad).
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "fovea/base/random.hpp"
#include "fovea/explain/page.hpp"

namespace fovea::explain {

struct SyntheticOptions {
  int64_t tokens = 64, layers = 6, heads = 6, classes = 8, examples = 2;
  bool language_model = false;
};

inline double synthetic_logit(int64_t layer, int64_t head, int64_t query, int64_t key, double noise) {
  switch ((layer + 2 * head) % 5) {
    case 0:
      return -0.5 * static_cast<double>(std::abs(query - key)) + noise;
    case 1:
      return (key == 0 ? 4.0 : 0.0) + noise;
    case 2:
      return (key % 7 == query % 7 ? 2.5 : 0.0) + noise;
    case 3:
      return (key == query - 1 ? 5.0 : 0.0) + noise;
    default:
      return 1.5 * noise;
  }
}

inline PageExample synthetic_example(const SyntheticOptions& options, uint64_t seed) {
  static const char* const kWords[] = {"the",    "film",   "is",   "a",        "quiet", "marvel",
                                       "of",     "light",  "and",  "it",       "never", "rushes",
                                       "its",    "people", "who",  "remember", "how",   "they",
                                       "argued", "until",  "dawn", "before",   "each",  "parting"};
  PageExample e;
  Random random(RandomKey{seed, 1});
  for (int64_t t = 0; t < options.tokens; ++t) {
    PageToken token;
    if (t == 0 && !options.language_model) {
      token.text = "[CLS]";
    } else {
      const std::string word = kWords[random.below(24)];
      const bool split = word.size() > 5 && t % 2 == 0;
      token.text = (split ? "" : " ") + word;
      token.word = split && t > 1 ? t - 1 : t;
      token.begin = static_cast<int64_t>(e.text.size());
      e.text += token.text;
      token.end = static_cast<int64_t>(e.text.size());
    }
    e.tokens.push_back(token);
  }
  e.title = e.text.substr(0, 60);
  const auto n = static_cast<size_t>(options.tokens);
  PageRelevance rollout{
      "rollout", "Attention through all layers, heads averaged, residual connections counted half.", {}};
  PageRelevance gradient{
      "gradient × input",
      "First-order effect of each token on the predicted score; its sign is for or against.",
      {}};
  PageRelevance occlusion{"occlusion", "Fall of the predicted probability when the token is left out.", {}};
  for (size_t t = 0; t < n; ++t) {
    const double common = std::exp(1.2 * random.normal());
    rollout.values.push_back(static_cast<float>(common / static_cast<double>(n)));
    gradient.values.push_back(
        static_cast<float>((random.below(4) == 0 ? -0.3 : 0.2) * common * random.uniform()));
    occlusion.values.push_back(gradient.values.back() * static_cast<float>(0.1 + 0.1 * random.uniform()));
  }
  e.relevance = {rollout, gradient, occlusion};
  if (options.language_model) {
    for (size_t t = 0; t < n; ++t) {
      PageNextToken next;
      const std::string follows = t + 1 < n ? e.tokens[t + 1].text : " the";
      next.candidates = {{follows, 0.41}, {" quiet", 0.17}, {"\n", 0.09}, {" <b>&amp;", 0.04}, {",", 0.02}};
      if (t + 1 < n) next.actual = t % 3 == 0 ? 0.02 : 0.41;
      e.next.push_back(next);
    }
    e.prediction = e.next.empty() ? std::vector<PageCandidate>{} : e.next.back().candidates;
  } else {
    double left = 1;
    for (int64_t c = 0; c < options.classes; ++c) {
      const double p = c + 1 == options.classes ? left : 0.62 * left;
      e.prediction.push_back({"class " + std::to_string(c), p});
      left -= p;
    }
    e.truth = seed % 2 == 0 ? "class 0" : "class 1";
  }
  e.attention.layers = options.layers;
  e.attention.heads = options.heads;
  e.attention.causal = options.language_model;
  const bool causal = options.language_model;
  const int64_t tokens = options.tokens;
  e.attention.rows = [tokens, causal, seed](int64_t layer, int64_t head, int64_t begin, int64_t end,
                                            float* out) {
    for (int64_t q = begin; q < end; ++q) {
      Random noise(RandomKey{seed, static_cast<uint64_t>((layer * 100 + head) * 100000 + q)});
      std::vector<double> weights(static_cast<size_t>(tokens));
      double sum = 0;
      for (int64_t k = 0; k < tokens; ++k) {
        const double logit = synthetic_logit(layer, head, q, k, noise.normal());
        const double w = causal && k > q ? 0 : std::exp(logit);
        weights[static_cast<size_t>(k)] = w;
        sum += w;
      }
      for (int64_t k = 0; k < tokens; ++k) {
        out[(q - begin) * tokens + k] = static_cast<float>(weights[static_cast<size_t>(k)] / sum);
      }
    }
  };
  return e;
}

inline PageData synthetic_page(const SyntheticOptions& options = {}) {
  PageData data;
  data.title = "Synthetic model </script> & friends";
  data.model = {"models/synthetic",
                "attention",
                options.language_model ? "language-model" : "text-classification",
                "9f86d081884c7d659a2feaa0c55ad015",
                "fused 8×2",
                "AVX3_ZEN4",
                42,
                1234567};
  for (int64_t i = 0; i < options.examples; ++i) {
    data.examples.push_back(synthetic_example(options, static_cast<uint64_t>(i)));
  }
  Random random(RandomKey{5, 5});
  PageQuality& q = data.quality;
  q.split = "test";
  q.metrics = {{"accuracy", 0.7931, 0.782, 0.804},
               {"macro F1", 0.768, 0.755, 0.781},
               {"log loss", 0.71, 0, 0},
               {"expected calibration error", 0.031, 0, 0}};
  for (int64_t step = 0; step <= 2000; step += 50) {
    const double t = static_cast<double>(step) / 500;
    for (const char* split : {"train", "validation"}) {
      for (const char* name : {"loss", "accuracy"}) {
        auto at = std::find_if(q.curves.begin(), q.curves.end(),
                               [&](const PageCurve& c) { return c.name == name && c.split == split; });
        if (at == q.curves.end()) at = q.curves.insert(q.curves.end(), PageCurve{name, split, {}, {}});
        const double gap = split[0] == 'v' ? 0.12 * t / 4 : 0;
        at->step.push_back(static_cast<double>(step));
        at->value.push_back(name[0] == 'l' ? 0.6 + 2.2 * std::exp(-t) + gap + 0.03 * random.normal()
                                           : 0.85 - 0.7 * std::exp(-t) - gap / 3 + 0.01 * random.normal());
      }
    }
  }
  if (options.language_model) return data;
  const int64_t classes = options.classes;
  for (int64_t c = 0; c < classes; ++c) {
    const double p = 0.6 + 0.35 * random.uniform(), r = 0.55 + 0.4 * random.uniform();
    q.classes.push_back({"class " + std::to_string(c), p, r, 2 * p * r / (p + r), 100 + 37 * c});
    for (int64_t j = 0; j < classes; ++j)
      q.confusion.push_back(c == j ? 80 + 5 * c : static_cast<int64_t>(random.below(9)));
  }
  for (int b = 0; b < 10; ++b) {
    const double confidence = 0.05 + 0.1 * b;
    q.calibration.push_back(
        {confidence, std::clamp(confidence - 0.06 + 0.05 * random.uniform(), 0.0, 1.0), 20 + 12 * b * b});
  }
  return data;
}

}  // namespace fovea::explain
