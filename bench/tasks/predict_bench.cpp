// What a caller waits for: loading a model folder, and one short text with the loaded model. Medians in ms.
// Usage: predict_bench MODEL [TEXT]      (a text classifier; its probabilities are checked first)
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <vector>

#include "fovea/tasks/classifier.hpp"

namespace {

template <class Work>
double median_milliseconds(int times, Work work) {
  std::vector<double> all;
  for (int i = 0; i < times; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    all.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(all.begin(), all.begin() + times / 2, all.end());
  return all[static_cast<size_t>(times / 2)];
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "predict_bench: expected a model's folder\n");
    return 2;
  }
  const std::string_view texts[] = {argc > 2 ? argv[2] : "perl library of small bindings"};
  const auto model = fovea::tasks::Classifier::load(argv[1]);
  const auto first = model.probabilities(texts);
  double sum = 0;
  for (const float p : first) sum += static_cast<double>(p);
  if (std::abs(sum - 1) > 1e-5) {
    fmt::print(stderr, "predict_bench: expected probabilities that sum to 1, got {}\n", sum);
    return 1;
  }
  const double load = median_milliseconds(9, [&] { fovea::tasks::Classifier::load(argv[1]); });
  const double predict = median_milliseconds(201, [&] { model.probabilities(texts); });
  fmt::print("parameters {}  load {:.1f} ms  one text {:.3f} ms\n", model.parameter_count(), load, predict);
}
