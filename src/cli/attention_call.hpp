// An attention call described in words, and which kernels serve it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "fovea/attention/plan.hpp"

namespace fovea::cli {

struct AttentionCall {
  int64_t batch = 1, heads = 1, q_length = 1024, k_length = 1024;
  AttentionShape shape;
  AttentionSpec spec;
};

// "B=1 H=8 L=4096 D=64 causal bf16": words in any order. B, H, L (or Lq and Lk), D, Dv; causal,
// window=LEFT,RIGHT, softcap=C, dropout=P, top_k=K, alibi, bias, mask, blocks, the name of a score; f32,
// bf16, f16; strict, high, fast. ArgumentError for a word that is none of these.
AttentionCall parse_attention_call(const std::string& words);

// "scaled_dot, dot, …".
std::string score_names(std::string_view between);

// The kernels of forward and backward in order, each with what it does or why it declines.
std::string attention_call_text(const AttentionCall& call);
nlohmann::ordered_json attention_call_json(const AttentionCall& call);

}  // namespace fovea::cli
