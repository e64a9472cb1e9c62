#include "formats/sentencepiece_trainer.hpp"

#include <sentencepiece_trainer.h>

#include <locale>
#include <mutex>
#include <unordered_map>

#include "base/check.hpp"
#include "fovea/formats/utf8.hpp"

namespace fovea::formats {

namespace {

// While it lives, streams are of the classic locale: the trainer reads its own settings by them, and a host
// whose C++ locale has a decimal comma would make "0.9995" no number. A C locale alone (setlocale) is left as
// it is.
class ClassicLocale {
 public:
  ClassicLocale() : before_(std::locale()) {
    if (before_ != std::locale::classic()) std::locale::global(std::locale::classic());
  }
  ~ClassicLocale() {
    if (before_ != std::locale::classic()) std::locale::global(before_);
  }
  ClassicLocale(const ClassicLocale&) = delete;
  ClassicLocale& operator=(const ClassicLocale&) = delete;

 private:
  std::locale before_;
};

// Feeds texts to the trainer line by line: a newline is white space to the model, and shorter sentences cost
// it less memory.
class TextIterator final : public sentencepiece::SentenceIterator {
 public:
  explicit TextIterator(Texts texts) : texts_(texts) { Next(); }
  bool done() const override { return done_; }
  const std::string& value() const override { return value_; }
  sentencepiece::util::Status status() const override { return {}; }

  void Next() override {
    for (; index_ < texts_.size(); ++index_, at_ = 0) {
      const std::string_view text = texts_[index_];
      while (at_ < text.size()) {
        const size_t end = std::min(text.find('\n', at_), text.size());
        const std::string_view line = text.substr(at_, end - at_);
        at_ = end + 1;
        if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
        value_ = replace_invalid_utf8(line);
        return;
      }
    }
    done_ = true;
  }

 private:
  Texts texts_;
  size_t index_ = 0;
  size_t at_ = 0;
  std::string value_;
  bool done_ = false;
};

}  // namespace

std::string train_sentencepiece_model(Texts texts, const TokenizerOptions& options) {
  constexpr const char* kCall = "train_tokenizer";
  const bool bpe = options.kind == TokenizerKind::kBpe;
  check_argument(options.vocab_size >= 8, kCall, "expected vocab_size of at least 8 for {}, got {}",
                 to_string(options.kind), options.vocab_size);
  TextIterator iterator(texts);
  check_data(!iterator.done(), "tokenizer", "expected text to make a vocabulary from, found none");
  const std::unordered_map<std::string, std::string> settings{
      {"model_type", bpe ? "bpe" : "unigram"},
      {"vocab_size", std::to_string(options.vocab_size)},
      {"hard_vocab_limit", "false"},  // a small text gives a smaller vocabulary, not an error
      {"character_coverage", fmt::format("{}", options.coverage)},
      {"normalization_rule_name", options.lowercase ? "nmt_nfkc_cf" : "nmt_nfkc"},
      {"unk_id", "0"},
      {"bos_id", options.special_tokens ? "1" : "-1"},
      {"eos_id", options.special_tokens ? "2" : "-1"},
      {"control_symbols", options.special_tokens ? "<cls>" : ""},
      {"unk_surface", "\xEF\xBF\xBD"},
      {"max_sentence_length", "1000000000"},  // the default skips whatever is longer than 4 KB
      {"num_threads", "2"},                   // sums are cut by this number: fixed, so that results are
      {"minloglevel", "3"}};
  // The trainer's logging level is global; nothing else in it is known to be shared.
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  const ClassicLocale classic;
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(settings, &iterator, &model);
  if (!status.ok()) {
    const std::string message = status.ToString();
    if (message.find("required_chars") != std::string::npos ||
        message.find("smaller than required") != std::string::npos) {
      throw_data("tokenizer",
                 "expected a vocab_size that holds every character of the texts, found {}; raise vocab_size "
                 "or lower coverage",
                 options.vocab_size);
    }
    throw_data(
        "tokenizer",
        "expected texts that a {} vocabulary of {} pieces can be made of, found too few or too odd ones; "
        "give a smaller vocab_size or another kind",
        to_string(options.kind), options.vocab_size);
  }
  return model;
}

}  // namespace fovea::formats
