#include "fovea/metrics/perplexity.hpp"

#include <cmath>
#include <numbers>

#include "base/check.hpp"

namespace fovea::metrics {

double perplexity(double nats, int64_t tokens) {
  check_argument(tokens > 0, "perplexity", "expected at least one token, got {}", tokens);
  check_argument(nats >= 0, "perplexity", "expected a negative log-likelihood of at least 0, got {}", nats);
  return std::exp(nats / static_cast<double>(tokens));
}

double bits_per_character(double nats, int64_t characters) {
  check_argument(characters > 0, "bits_per_character", "expected at least one character, got {}", characters);
  check_argument(nats >= 0, "bits_per_character", "expected a negative log-likelihood of at least 0, got {}",
                 nats);
  return nats / (static_cast<double>(characters) * std::numbers::ln2);
}

}  // namespace fovea::metrics
