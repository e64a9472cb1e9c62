#include "fovea/explain/explain_text.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "explain/recorder.hpp"
#include "explain/text_parts.hpp"
#include "fovea/autograd/tape.hpp"
#include "fovea/explain/relevance.hpp"

namespace fovea::explain {
namespace {

bool is_blank(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

// Probability of `target` when only some of the tokens are read.
std::vector<float> occluded(const models::TextClassifier& model, std::string_view text,
                            const formats::Encoding& encoding, std::span<const int64_t> words,
                            int64_t target) {
  const auto scores = [&](std::span<const std::vector<int64_t>> kept, std::span<double> out) {
    std::vector<models::EncodedText> variants(kept.size());
    std::vector<const models::EncodedText*> pointers;
    for (size_t v = 0; v < kept.size(); ++v) {
      for (const int64_t t : kept[v]) {
        const formats::Span span = encoding.spans[static_cast<size_t>(t)];
        models::append_token(
            encoding.ids[static_cast<size_t>(t)],
            text.substr(static_cast<size_t>(span.begin), static_cast<size_t>(span.end - span.begin)),
            model.config(), variants[v]);
      }
      pointers.push_back(&variants[v]);
    }
    nn::Context context;
    const autograd::Var logits = model.logits(models::make_batch(pointers), context);
    for (size_t n = 0; n < out.size(); ++n) {
      const auto row = logits.value().span().subspan(n * static_cast<size_t>(logits.dim(1)),
                                                     static_cast<size_t>(logits.dim(1)));
      out[n] = softmax_of(row)[static_cast<size_t>(target)];
    }
  };
  return occlusion(words, scores);
}

// What the classifier's pooling reads at the top: half the mean over all tokens, half its attention pooling.
std::vector<float> pooled_tokens(const AttentionRecorder& recorder, size_t tokens) {
  std::vector<float> start(tokens, 1.0F / static_cast<float>(tokens));
  if (recorder.pooling_weights().size() == tokens) {
    for (size_t t = 0; t < tokens; ++t) start[t] = 0.5F * (start[t] + recorder.pooling_weights()[t]);
  }
  return start;
}

}  // namespace

std::vector<PageToken> page_tokens(std::string_view text, const formats::Encoding& encoding,
                                   const formats::Tokenizer& tokenizer) {
  std::vector<PageToken> tokens;
  int64_t word = 0, before = 0;
  for (size_t i = 0; i < encoding.ids.size(); ++i) {
    const formats::Span span = encoding.spans[i];
    PageToken token{"", word, span.begin, span.end};
    // Bytes between two tokens (blanks, and what the tokenizer left out) are shown with the later one.
    const int64_t from = std::min(before, span.begin);
    if (span.end > from)
      token.text = std::string(text.substr(static_cast<size_t>(from), static_cast<size_t>(span.end - from)));
    const bool blank = std::any_of(token.text.begin(), token.text.end(), is_blank);
    if (blank && i > 0) ++word;
    token.word = word;
    if (span.end <= span.begin && token.text.empty()) token.text = tokenizer.piece(encoding.ids[i]);
    before = std::max(before, span.end);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

PageExample explain_text(models::TextClassifier& model, const formats::Tokenizer& tokenizer,
                         const std::vector<std::string>& classes, std::string_view text,
                         const ExplainOptions& options) {
  const int64_t count = model.config().classes;
  check_argument(static_cast<int64_t>(classes.size()) == count, "explain_text",
                 "expected {} class names, got {}", count, classes.size());
  formats::Encoding encoding = tokenizer.encode(text);
  const auto longest = static_cast<size_t>(model.config().max_tokens);
  if (encoding.ids.size() > longest) {
    encoding.ids.resize(longest);
    encoding.spans.resize(longest);
  }
  PageExample example;
  example.text = std::string(text);
  example.truth = options.truth;
  example.tokens = page_tokens(text, encoding, tokenizer);
  const size_t tokens = encoding.ids.size();
  const models::EncodedText read = models::network_input(text, encoding, model.config());
  const models::EncodedText* const one[] = {&read};
  const models::TextBatch batch = models::make_batch(one);

  AttentionRecorder recorder;
  nn::Context context(&recorder);
  autograd::Tape tape;
  autograd::Var logits, x;
  {
    const autograd::TapeScope scope(tape);
    x = autograd::Var::parameter(model.embed(batch, context).value().clone());
    logits = model.classify(x, batch.offsets, context);
  }
  const std::vector<double> p = softmax_of(logits.value().span());
  const std::vector<size_t> order = strongest(p, options.candidates);
  for (const size_t c : order) example.prediction.push_back({classes[c], p[c]});
  if (tokens == 0) return example;

  if (!recorder.empty()) {
    example.attention = recorder.page_attention();
    example.relevance.push_back(recorder.rollout(pooled_tokens(recorder, tokens)));
  }
  Tensor one_hot = Tensor::zeros({1, count});
  one_hot.data()[order[0]] = 1;
  tape.backward_from(logits, one_hot);
  const std::string name = classes[order[0]];
  if (x.grad().defined()) {
    example.relevance.push_back({"gradient × input",
                                 "First-order effect of each token's embedding on the score of " + name +
                                     ": positive speaks for it, negative against it.",
                                 gradient_times_input(x.value(), x.grad())});
  }
  clear_gradients(model);
  if (options.occlusion) {
    std::vector<int64_t> words;
    for (const PageToken& token : example.tokens) words.push_back(token.word);
    example.relevance.push_back({"occlusion",
                                 "Fall of the probability of " + name + " when the token's word is left out.",
                                 occluded(model, text, encoding, words, static_cast<int64_t>(order[0]))});
  }
  return example;
}

}  // namespace fovea::explain
