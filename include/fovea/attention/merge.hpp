// Attention over keys that lie in several places (shards, splits, pages of a store): each place answers for
// its own keys, and the answers, with what was seen, become that of all keys. The keys of the parts are
// disjoint; a part sees them at places of its own, so that it can have neither causality, windows nor biases
// by distance.
#pragma once

#include <cstdint>
#include <span>

#include "fovea/attention/attention.hpp"

namespace fovea {

// into := attention over the keys of both, up to rounding, in any order and grouping. first_key[n] is the
// place of part's key 0 among all keys of sequence n: indices in part.seen count from there (those in
// into.seen are taken to be final). q_offsets as in the call. With w = e^{lse(part) − lse}: out = Σ w·out,
// entropy = Σ w·(entropy − ln w), maxima and top-k are the largest of the w·weights (ties to the lower
// index), effective keys = 1 / Σ (w² / effective keys), set mass = Σ w·mass. ArgumentError where shapes
// differ, where one side saw what the other did not, and for what parts cannot know: key_mass
// (attention_key_mass gives it), block_mass, distance, first_key and near.
void merge(AttentionResult& into, const AttentionResult& part, const Offsets& q_offsets,
           std::span<const int64_t> first_key);

// The sinks [H] of the whole call, once, after the parts, which were computed without.
void merge_sinks(AttentionResult& into, std::span<const float> sinks);

// Σ over the queries of the weight on each key, [Tk, H], for what the softmax left of each row [Tq, H]: of
// the same call, or merged from all parts, of which this is one. Costs one pass over the scores.
Tensor attention_key_mass(const AttentionInputs& inputs, const AttentionSpec& spec, SoftmaxInput softmax);

}  // namespace fovea
