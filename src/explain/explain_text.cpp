#include "fovea/explain/explain_text.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "explain/text_parts.hpp"

namespace fovea::explain {
namespace {

// Writes the probability of `target` when only the kept tokens are read.
void score_variants(const models::TextEnsemble& model, std::string_view text,
                    const formats::Encoding& encoding, size_t target, const std::filesystem::path& folder,
                    std::span<const std::vector<int64_t>> kept, std::span<double> out) {
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
  const auto classes = static_cast<size_t>(logits.dim(1));
  for (size_t n = 0; n < out.size(); ++n)
    out[n] = softmax_of(logits.value().span().subspan(n * classes, classes), folder)[target];
}

// What each member's pooling reads at the top: half the mean over all tokens, half its attention pooling.
std::vector<std::vector<float>> pooled_tokens(const AttentionRecorder& recorder, int64_t members,
                                              size_t tokens) {
  const auto count = static_cast<size_t>(members);
  std::vector<std::vector<float>> starts(count,
                                         std::vector<float>(tokens, 1.0F / static_cast<float>(tokens)));
  if (recorder.poolings().size() != count) return starts;
  for (size_t m = 0; m < count; ++m) {
    for (size_t t = 0; t < tokens; ++t) starts[m][t] = 0.5F * (starts[m][t] + recorder.poolings()[m][t]);
  }
  return starts;
}

}  // namespace

PageExample explain_text(models::TextEnsemble& model, const formats::Tokenizer& tokenizer,
                         const std::vector<std::string>& classes, std::string_view text,
                         const ExplainOptions& options) {
  const int64_t count = model.config().classes;
  check_argument(static_cast<int64_t>(classes.size()) == count, "explain_text",
                 "expected {} class names, got {}", count, classes.size());
  const Start beginning = encode_start(tokenizer, text, model.config().max_tokens);
  const formats::Encoding& encoding = beginning.encoding;
  PageExample example = example_of(text, beginning, options);
  const size_t tokens = encoding.ids.size();
  const models::EncodedText read = models::network_input(text, encoding, model.config());
  const models::EncodedText* const one[] = {&read};
  const models::TextBatch batch = models::make_batch(one);

  Reading reading;
  nn::Context context(&reading.recorder);
  {
    const autograd::TapeScope scope(reading.tape);
    reading.x = autograd::Var::parameter(model.embed(batch, context).value().clone());
    reading.logits = model.classify(reading.x, batch.offsets, context);
  }
  const std::vector<double> p = softmax_of(reading.logits.value().span(), options.folder);
  const std::vector<size_t> order = strongest(p, options.candidates);
  for (const size_t c : order) example.prediction.push_back({classes[c], p[c]});
  if (tokens == 0) return example;
  add_relevance(
      model, reading, {.index = order[0], .name = classes[order[0]], .role = ""},
      pooled_tokens(reading.recorder, model.members(), tokens), options.occlusion,
      [&](std::span<const std::vector<int64_t>> kept, std::span<double> out) {
        score_variants(model, text, encoding, order[0], options.folder, kept, out);
      },
      example);
  return example;
}

}  // namespace fovea::explain
