// Looking inside a model's reading of one text: attention, rollout, gradient × input and occlusion, ready for
// a page.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/explain/page.hpp"
#include "fovea/formats/tokenizer.hpp"
#include "fovea/models/language_model.hpp"
#include "fovea/models/text_ensemble.hpp"

namespace fovea::explain {

// What to compute, and what is known of the text.
struct ExplainOptions {
  std::string truth;        // the true label, where it is known
  int64_t candidates = 20;  // classes or next tokens to list
  bool occlusion = true;    // costs one more reading of the text for each of its words, in batches
  std::filesystem::path folder{"model"};  // what errors call the model; explain_model sets it
};

// Tokens of a text as a reader should see them: slices of the text as it was written, never the tokenizer's
// pieces, each with what stands before it (blanks, and what the tokenizer leaves out), so that together they
// are the text up to the last token. Tokens of one character (bytes; letters that NFKC makes of a ligature)
// and those of none (SentencePiece's first "▁") are shown as one: all have the same [begin, end), whole
// characters, and only the first has a text. Words are numbered from 0: what white space separates.
std::vector<PageToken> page_tokens(std::string_view text, const formats::Encoding& encoding);

// A word of a text: tokens [first, last).
struct PageWord {
  std::string text;  // a slice of the text without the white space around it
  size_t first = 0;  // its first token
  size_t last = 0;   // the token after its last
};
// The words of page_tokens in order. Special tokens and white space at the end are no words.
std::vector<PageWord> page_words(const std::vector<PageToken>& tokens);

// Reads `text` as inference does (longer texts are cut at the model's max_tokens) and explains the most
// probable class:
//   attention          exact weights of every layer and head, kept as q, k and lse, O(T) memory
//   rollout            from the pooled tokens down; attention models only
//   gradient × input   of the class's logit, by the embeddings
//   occlusion          fall of the class's probability when a word is left out
// The model's gradients are cleared afterwards. A text without tokens gives an example with a prediction
// alone. ArgumentError when `classes` has not a name for each class; DataError when the model's scores are
// not finite.
PageExample explain_text(models::TextEnsemble& model, const formats::Tokenizer& tokenizer,
                         const std::vector<std::string>& classes, std::string_view text,
                         const ExplainOptions& options = {});

// Reads a text (cut at the model's context) and explains the token that the model holds most likely to follow
// it. As above, with rollout from the last token, gradient × input of the token's logit, occlusion of its
// probability, and for every position the likeliest next tokens beside the one that does follow. What cannot
// be written (the unknown token) is never among them. A text without tokens gives an empty example.
PageExample explain_text(models::LanguageModel& model, const formats::Tokenizer& tokenizer,
                         std::string_view text, const ExplainOptions& options = {});

}  // namespace fovea::explain
