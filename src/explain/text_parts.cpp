#include "explain/text_parts.hpp"

namespace fovea::explain {

Start encode_start(const formats::Tokenizer& tokenizer, std::string_view text, int64_t longest) {
  Start start{.encoding = tokenizer.encode(text)};
  const auto most = static_cast<size_t>(longest);
  start.cut = start.encoding.ids.size() > most;
  if (start.cut) {
    start.encoding.ids.resize(most);
    start.encoding.spans.resize(most);
  }
  return start;
}

PageExample example_of(std::string_view text, const Start& start, const ExplainOptions& options) {
  PageExample example;
  example.text = std::string(text);
  example.truth = options.truth;
  example.cut = start.cut;
  example.tokens = page_tokens(text, start.encoding);
  return example;
}

void add_relevance(nn::Module& model, Reading& reading, const Explained& what,
                   std::span<const std::vector<float>> starts, bool with_occlusion, VariantScores scores,
                   PageExample& example) {
  if (!reading.recorder.empty()) {
    example.attention = reading.recorder.page_attention();
    example.attention.members = static_cast<int64_t>(starts.size());
    example.relevance.push_back(reading.recorder.rollout(starts));
  }
  Tensor one_hot = Tensor::zeros(reading.logits.shape());
  one_hot.data()[what.index] = 1;
  reading.tape.backward_from(reading.logits, one_hot);
  if (reading.x.grad().defined()) {
    example.relevance.push_back({"gradient × input",
                                 "First-order effect of each token's embedding on the score of " + what.name +
                                     what.role + ": positive speaks for it, negative against it.",
                                 gradient_times_input(reading.x.value(), reading.x.grad())});
  }
  for (const nn::Parameter& parameter : model.parameters()) {
    autograd::Var var = parameter.var;
    var.clear_grad();
  }
  if (!with_occlusion) return;
  std::vector<int64_t> words;
  words.reserve(example.tokens.size());
  for (const PageToken& token : example.tokens) words.push_back(token.word);
  example.relevance.push_back(
      {"occlusion", "Fall of the probability of " + what.name + " when the token's word is left out.",
       occlusion(words, scores)});
}

}  // namespace fovea::explain
