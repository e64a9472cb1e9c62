// Explaining a language model's guess of the token that follows a text.
#include <algorithm>

#include "explain/text_parts.hpp"
#include "fovea/autograd/functions/rows.hpp"

namespace fovea::explain {
namespace {

constexpr int64_t kNextCandidates = 8;  // at each position; every reader looks at few, every position pays
constexpr int64_t kLogitRows = 64;      // positions whose logits [rows, V] are held at a time

// A token as part of a text: what it decodes to, with SentencePiece's mark for a blank turned into one.
std::string token_text(const formats::Tokenizer& tokenizer, int64_t id) {
  const auto token = static_cast<int32_t>(id);
  const std::string piece = tokenizer.piece(token);
  constexpr std::string_view kBlank = "\u2581";
  if (piece.find(kBlank) != std::string::npos) {
    std::string text;
    for (size_t at = 0; at < piece.size();) {
      const bool blank = piece.compare(at, kBlank.size(), kBlank) == 0;
      text += blank ? ' ' : piece[at];
      at += blank ? kBlank.size() : 1;
    }
    return text;
  }
  const std::string decoded = tokenizer.decode(std::span(&token, 1));
  return decoded.empty() || decoded == "\uFFFD" ? piece : decoded;
}

// By id, whether a token can be written, as generation has it: text, a byte, or the end. "<unk>" and other
// special tokens are no guess that a reader could understand.
std::vector<bool> writable(const formats::Tokenizer& tokenizer) {
  std::vector<bool> can(static_cast<size_t>(tokenizer.vocab_size()));
  for (size_t id = 0; id < can.size(); ++id) {
    const auto token = static_cast<int32_t>(id);
    can[id] = tokenizer.is_text(token) || tokenizer.byte_of(token) >= 0 || token == tokenizer.eos_id();
  }
  return can;
}

// The `count` most probable tokens that can be written, strongest first.
std::vector<size_t> strongest_writable(std::span<const double> p, const std::vector<bool>& can,
                                       int64_t count) {
  const auto others = std::count(can.begin(), can.end(), false);
  std::vector<size_t> order = strongest(p, count + others);
  std::erase_if(order, [&](size_t id) { return !can[id]; });
  order.resize(std::min(order.size(), static_cast<size_t>(count)));
  return order;
}

std::vector<PageCandidate> candidates(const formats::Tokenizer& tokenizer, std::span<const double> p,
                                      std::span<const size_t> order) {
  std::vector<PageCandidate> list;
  for (const size_t id : order) list.push_back({token_text(tokenizer, static_cast<int64_t>(id)), p[id]});
  return list;
}

std::vector<PageNextToken> next_tokens(const models::LanguageModel& model,
                                       const formats::Tokenizer& tokenizer, const std::vector<bool>& can,
                                       const Tensor& hidden, std::span<const int32_t> ids,
                                       const std::filesystem::path& folder) {
  std::vector<PageNextToken> next;
  const int64_t tokens = hidden.dim(0);
  for (int64_t begin = 0; begin < tokens; begin += kLogitRows) {
    const int64_t end = std::min(begin + kLogitRows, tokens);
    const autograd::Var logits = model.logits(hidden.rows(begin, end));
    const auto vocabulary = static_cast<size_t>(logits.dim(1));
    for (int64_t t = begin; t < end; ++t) {
      const std::vector<double> p = softmax_of(
          logits.value().span().subspan(static_cast<size_t>(t - begin) * vocabulary, vocabulary), folder);
      PageNextToken& position = next.emplace_back();
      position.candidates = candidates(tokenizer, p, strongest_writable(p, can, kNextCandidates));
      if (t + 1 < tokens) position.actual = p[static_cast<size_t>(ids[static_cast<size_t>(t) + 1])];
    }
  }
  return next;
}

// Writes the probability that `target` follows when only the kept tokens are read. Of nothing read, nothing
// is known: 1/V.
void score_variants(const models::LanguageModel& model, std::span<const int32_t> ids, size_t target,
                    const std::filesystem::path& folder, std::span<const std::vector<int64_t>> kept,
                    std::span<double> out) {
  const Variants variants = variants_of(ids, kept);
  const Offsets offsets = Offsets::from_lengths(variants.lengths);
  nn::Context context;
  Tensor last = Tensor::empty({offsets.count()}, DType::kI32);  // −1 for an empty variant: a row of zeros
  for (int64_t n = 0; n < offsets.count(); ++n) {
    last.data<int32_t>()[n] = offsets.length(n) > 0 ? static_cast<int32_t>(offsets.end(n) - 1) : -1;
  }
  const Tensor batch = Tensor::from<int32_t>(variants.ids, {offsets.total()});
  const autograd::Var logits =
      model.logits(autograd::gather_rows(model.hidden(batch, offsets, context), last));
  const auto vocabulary = static_cast<size_t>(logits.dim(1));
  for (size_t n = 0; n < out.size(); ++n) {
    out[n] = variants.lengths[n] == 0
                 ? 1.0 / static_cast<double>(vocabulary)
                 : softmax_of(logits.value().span().subspan(n * vocabulary, vocabulary), folder)[target];
  }
}

}  // namespace

PageExample explain_text(models::LanguageModel& model, const formats::Tokenizer& tokenizer,
                         std::string_view text, const ExplainOptions& options) {
  const Start beginning = encode_start(tokenizer, text, model.config().context);
  const formats::Encoding& encoding = beginning.encoding;
  PageExample example = example_of(text, beginning, options);
  const auto tokens = static_cast<int64_t>(encoding.ids.size());
  if (tokens == 0) return example;
  const Tensor ids = Tensor::from<int32_t>(encoding.ids, {tokens});
  const Offsets offsets = Offsets::single(tokens);

  Reading reading;
  nn::Context context(&reading.recorder);
  autograd::Var hidden;
  {
    const autograd::TapeScope scope(reading.tape);
    reading.x = autograd::Var::parameter(model.embed(ids, offsets, context).value().clone());
    hidden = model.hidden_of(reading.x, offsets, context);
    reading.logits = model.logits(autograd::slice_rows(hidden, tokens - 1, tokens));
  }
  const std::vector<bool> can = writable(tokenizer);
  example.next = next_tokens(model, tokenizer, can, hidden.value(), encoding.ids, options.folder);
  const std::vector<double> p = softmax_of(reading.logits.value().span(), options.folder);
  const std::vector<size_t> guesses = strongest_writable(p, can, std::max<int64_t>(options.candidates, 1));
  if (guesses.empty()) return example;  // a vocabulary of nothing but special tokens
  const size_t target = guesses[0];
  example.prediction = candidates(tokenizer, p, guesses);
  std::vector<float> start(static_cast<size_t>(tokens));
  start.back() = 1;
  add_relevance(
      model, reading,
      {.index = target, .name = "“" + example.prediction[0].name + "”", .role = " as the next token"},
      {&start, 1}, options.occlusion,
      [&](std::span<const std::vector<int64_t>> kept, std::span<double> out) {
        score_variants(model, encoding.ids, target, options.folder, kept, out);
      },
      example);
  return example;
}

}  // namespace fovea::explain
