// Perplexity and bits per character of a language model. Pure functions, thread-safe.
#pragma once

#include <cstdint>

namespace fovea::metrics {

// exp(nats / tokens): `nats` the summed negative log-likelihood. ArgumentError unless tokens > 0 and nats >=
// 0.
double perplexity(double nats, int64_t tokens);

// nats / (characters · ln 2): comparable between tokenizers, because characters (code points) are counted,
// not tokens. ArgumentError unless characters > 0 and nats >= 0.
double bits_per_character(double nats, int64_t characters);

}  // namespace fovea::metrics
