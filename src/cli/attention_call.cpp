#include "cli/attention_call.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <sstream>
#include <string_view>

#include "base/number_text.hpp"
#include "fovea/base/error.hpp"

namespace fovea::cli {
namespace {

using nlohmann::ordered_json;

constexpr int64_t kMaxWidth = 1024;  // of the engine

}  // namespace

std::string score_names(std::string_view between) {
  std::string names;
  for (const ScoreName& known : kScoreNames)
    names += fmt::format("{}{}", names.empty() ? "" : between, known.name);
  return names;
}

namespace {

[[noreturn]] void refuse(const std::string& word) {
  throw ArgumentError(fmt::format(
      "[info] expected B=, H=, L=, Lq=, Lk=, D=, Dv=, window=LEFT,RIGHT, softcap=, dropout=, top_k=, "
      "causal, alibi, bias, mask, blocks, {}, f32, bf16, f16, strict, high or fast in --attention, got '{}'",
      score_names(", "), word));
}

[[noreturn]] void refuse_value(const std::string& word, const std::string& expected) {
  throw ArgumentError(fmt::format("[info] expected {} in --attention, got '{}'", expected, word));
}

constexpr int64_t kAnyNumber = std::numeric_limits<int64_t>::max();

int64_t whole_number(const std::string& word, std::string_view text, int64_t least,
                     int64_t most = 1'000'000'000) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most)
    refuse_value(word, most == kAnyNumber ? fmt::format("a whole number >= {}", least)
                                          : fmt::format("a whole number from {} to {}", least, most));
  return value;
}

float number(const std::string& word, const std::string& text) {
  const auto value = number_in<float>(text);
  if (!value || !(*value >= 0) || !std::isfinite(*value)) refuse_value(word, "a number >= 0");
  return *value;
}

void set_value(AttentionCall& call, const std::string& word, const std::string& name,
               const std::string& value) {
  if (name == "B") {
    call.batch = whole_number(word, value, 1);
  } else if (name == "H") {
    call.heads = whole_number(word, value, 1);
  } else if (name == "L") {
    call.q_length = call.k_length = whole_number(word, value, 0);
  } else if (name == "Lq") {
    call.q_length = whole_number(word, value, 0);
  } else if (name == "Lk") {
    call.k_length = whole_number(word, value, 0);
  } else if (name == "D") {
    call.shape.width = call.shape.value_width = whole_number(word, value, 1, kMaxWidth);
  } else if (name == "Dv") {
    call.shape.value_width = whole_number(word, value, 1, kMaxWidth);
  } else if (name == "softcap") {
    call.spec.softcap = number(word, value);
  } else if (name == "dropout") {
    call.spec.dropout = number(word, value);
    if (call.spec.dropout >= 1) refuse_value(word, "a number in [0, 1)");
  } else if (name == "top_k") {
    call.spec.top_k = whole_number(word, value, 1, kAnyNumber);
  } else if (name == "window") {
    const size_t comma = value.find(',');
    if (comma == std::string::npos) refuse_value(word, "window=LEFT,RIGHT, -1 for unbounded,");
    call.spec.window_left = whole_number(word, std::string_view(value).substr(0, comma), -1);
    call.spec.window_right = whole_number(word, std::string_view(value).substr(comma + 1), -1);
  } else {
    refuse(word);
  }
}

void set_flag(AttentionCall& call, const std::string& word) {
  for (const ScoreName& known : kScoreNames) {
    if (word != known.name) continue;
    call.spec.score = known.score;
    return;
  }
  if (word == "causal") {
    call.spec.causal = true;
  } else if (word == "alibi" || word == "bias" || word == "mask" || word == "blocks") {
    call.shape.biases = true;
  } else if (word == "f32") {
    call.shape.dtype = DType::kF32;
  } else if (word == "bf16") {
    call.shape.dtype = DType::kBF16;
  } else if (word == "f16") {
    call.shape.dtype = DType::kF16;
  } else if (word == "strict") {
    call.spec.precision = Precision::kStrict;
  } else if (word == "high") {
    call.spec.precision = Precision::kHigh;
  } else if (word == "fast") {
    call.spec.precision = Precision::kFast;
  } else {
    refuse(word);
  }
}

// Operations of forward: two products of 2·Lq·Lk·D, over the keys in sight.
double gigaflops(const AttentionCall& call) {
  double seen = 0;
  const int64_t shift = call.k_length - call.q_length, far = int64_t{1} << 60;
  const int64_t left = call.spec.window_left < 0 ? far : call.spec.window_left;
  int64_t right = call.spec.window_right < 0 ? far : call.spec.window_right;
  if (call.spec.causal) right = std::min<int64_t>(right, 0);
  for (int64_t i = 0; i < call.q_length; ++i) {
    const int64_t begin = std::clamp<int64_t>(i + shift - left, 0, call.k_length);
    const int64_t end = std::clamp<int64_t>(i + shift + right + 1, 0, call.k_length);
    seen += static_cast<double>(std::max<int64_t>(0, end - begin));
  }
  return 2e-9 * seen * static_cast<double>(call.batch * call.heads) *
         static_cast<double>(call.shape.width + call.shape.value_width);
}

std::vector<PlannedKernel> plan_of(const AttentionCall& call, bool backward) {
  AttentionShape shape = call.shape;
  shape.backward = backward;
  return attention_plan(shape, call.spec);
}

}  // namespace

AttentionCall parse_attention_call(const std::string& words) {
  AttentionCall call;
  std::istringstream in(words);
  in.imbue(std::locale::classic());
  for (std::string word; in >> word;) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos) {
      set_flag(call, word);
    } else {
      set_value(call, word, word.substr(0, equals), word.substr(equals + 1));
    }
  }
  return call;
}

std::string attention_call_text(const AttentionCall& call) {
  std::string text = fmt::format("work              {:.4g} GFLOP forward, {:.4g} backward\n", gigaflops(call),
                                 2.5 * gigaflops(call));
  for (const bool backward : {false, true}) {
    const char* pass = backward ? "backward" : "forward";
    bool chosen = false;
    for (const PlannedKernel& kernel : plan_of(call, backward)) {
      const char* state = !kernel.serves ? "declines" : chosen ? "could serve" : "serves";
      chosen = chosen || kernel.serves;
      text += fmt::format("{:<9} {:<14} {:<11} {}\n", pass, kernel.name, state, kernel.reason);
    }
  }
  return text;
}

ordered_json attention_call_json(const AttentionCall& call) {
  ordered_json result = {{"gflop_forward", gigaflops(call)}};
  for (const bool backward : {false, true}) {
    ordered_json kernels = ordered_json::array();
    for (const PlannedKernel& kernel : plan_of(call, backward)) {
      kernels.push_back({{"kernel", kernel.name}, {"serves", kernel.serves}, {"reason", kernel.reason}});
    }
    result[backward ? "backward" : "forward"] = kernels;
  }
  return result;
}

}  // namespace fovea::cli
