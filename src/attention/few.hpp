// Calls of a few queries on many keys, as when a model generates and keeps its keys in plain arrays: each key
// and value is read once, where it lies, for all queries and grouped heads, by the kernels of
// attention_decode. The kernels of fused.hpp would fill a vector of queries with one and go through the keys
// once a head.
#pragma once

#include "attention/resolve.hpp"

namespace fovea {

// Which sequences of a call these serve. A sequence's own shape decides, so that its bits do not depend on
// what else is in the batch.
enum class Few : uint8_t { kNone, kSome, kAll };
Few few_queries(const AttentionInputs& shapes, const Resolved& r, const AttentionSpec& spec);

// Writes out, and what the softmax leaves as far as wanted, of these sequences; `shapes` as resolved, of T's
// addresses only.
template <class T>
void few_forward(const AttentionInputs& shapes, const Resolved& r, const AttentionSpec& spec,
                 HeadsView<const T> q, HeadsView<const T> k, HeadsView<const T> v, HeadsView<T> out,
                 SoftmaxOutput softmax);

}  // namespace fovea
