#include "tasks/language_modeling.hpp"

#include <array>
#include <cmath>

#include "base/check.hpp"
#include "fovea/base/random.hpp"
#include "fovea/data/read.hpp"
#include "fovea/formats/paths.hpp"
#include "fovea/formats/printable.hpp"
#include "fovea/metrics/perplexity.hpp"
#include "fovea/tasks/generation.hpp"
#include "tasks/keys.hpp"
#include "tasks/read_keys.hpp"
#include "tasks/text_rows.hpp"

namespace fovea::tasks {
namespace {

struct Settings {
  uint64_t seed = 1;
  std::string file, train, valid, test, base;
  double valid_share = 0.1, test_share = 0.0;
  formats::TokenizerOptions tokenizer;
  models::LanguageModelConfig model;
  int64_t batch_tokens = 4096;
  data::ReadOptions read;
};

Settings read_settings(const formats::Recipe& recipe) {
  const Keys key(recipe);
  Settings s;
  s.base = recipe.folder().string();
  s.seed = static_cast<uint64_t>(recipe.integer("seed", 1, 0, int64_t{1} << 40));
  s.file = recipe.text("data.file", "");
  s.train = recipe.text("data.train", "");
  s.valid = recipe.text("data.valid", "");
  s.test = recipe.text("data.test", "");
  if (s.file.empty() == s.train.empty()) {
    recipe.fail(s.file.empty() ? "data.file" : "data.train",
                "expected data.file (one text that is split) or data.train (and data.valid, data.test)");
  }
  read_option_keys(recipe, {"encoding"}, s.read);
  // The end of the text is held out, not random pieces: neighbouring pieces share their words.
  s.valid_share = recipe.number("data.valid_share", s.valid_share, 0.0, 0.9);
  s.test_share = recipe.number("data.test_share", s.test_share, 0.0, 0.9);
  if (s.valid_share + s.test_share >= 1)
    recipe.fail("data.valid_share", "expected training text to be left, found none");
  const auto kind =
      recipe.choice(key("tokenizer.kind"), "characters", {"bytes", "characters", "words", "unigram", "bpe"});
  s.tokenizer.kind = formats::tokenizer_kind(kind);
  s.tokenizer.vocab_size =
      recipe.integer(key("tokenizer.vocab_size"), kind == "unigram" || kind == "bpe" ? 8000 : 0, 0, 1 << 24);
  s.tokenizer.lowercase = recipe.boolean(key("tokenizer.lowercase"), false);
  s.tokenizer.min_count = recipe.integer(key("tokenizer.min_count"), 1, 1, 1 << 30);
  s.tokenizer.special_tokens = false;
  auto& m = s.model;
  m.kind = key.kind();
  if (m.kind != models::ModelKind::kAttention && m.kind != models::ModelKind::kLstm) {
    recipe.fail("model.kind", "expected attention or lstm for the task language-model");
  }
  m.layers = recipe.integer(key("model.layers"), m.layers, 1, 1024);
  m.width = recipe.integer(key("model.width"), m.width, 1, 1 << 16);
  m.heads = recipe.integer(key("model.heads"), m.heads, 1, 1024);
  m.feed_forward = recipe.integer(key("model.feed_forward"), 4 * m.width, 1, 1 << 18);
  m.context = recipe.integer(key("model.context"), m.context, 1, 1 << 24);
  m.dropout = static_cast<float>(recipe.number(key("model.dropout"), 0.0, 0.0, 0.99));
  m.bias = recipe.boolean(key("model.bias"), m.bias);
  if (m.kind == models::ModelKind::kAttention && m.width % m.heads != 0) {
    recipe.fail("model.heads", fmt::format("expected a divisor of the width {}, found {}", m.width, m.heads));
  }
  s.batch_tokens = recipe.integer(key("train.batch_tokens"), s.batch_tokens, 1, int64_t{1} << 32);
  return s;
}

// The byte at or after share · size where a character begins.
size_t cut_at(std::string_view text, double share) {
  auto at = static_cast<size_t>(static_cast<double>(text.size()) * share);
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
  return at;
}

int64_t characters_in(std::string_view text) {
  int64_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
  return count;
}

class LanguageModelTask final : public Task {
 public:
  LanguageModelTask(Settings settings, const TaskOptions& options) : settings_(std::move(settings)) {
    read_texts(options.log);
    const auto known = options.resume_from / "tokenizer.json";
    if (!options.resume_from.empty() && formats::exists(known)) {
      model_.tokenizer = formats::Tokenizer::load(options.resume_from);
    } else {
      const std::string_view text(texts_[0]);
      model_.tokenizer =
          formats::train_tokenizer(std::span<const std::string_view>(&text, 1), settings_.tokenizer);
    }
    for (size_t split = 0; split < 3; ++split) ids_[split] = model_.tokenizer->encode_ids(texts_[split]);
    check_data(ids_[0].size() >= 2, formats::printable(source_),
               "expected a training text of at least two tokens, found {}", ids_[0].size());
    settings_.model.vocab_size = model_.tokenizer->vocab_size();
    model_.network = std::make_shared<models::LanguageModel>(settings_.model, settings_.seed);
    length_ = std::min<int64_t>(settings_.model.context, static_cast<int64_t>(ids_[0].size()) - 1);
    sequences_ = std::max<int64_t>(settings_.batch_tokens / length_, 1);
    description_ = fmt::format(
        "Running text from `{}`: {} training, {} validation, {} test tokens; vocabulary of {} ({}).\n",
        formats::printable(source_), ids_[0].size(), ids_[1].size(), ids_[2].size(),
        settings_.model.vocab_size, formats::to_string(model_.tokenizer->kind()));
    if (options.log != nullptr) {
      options.log->log(LogLevel::kInfo, description_.substr(0, description_.size() - 1));
    }
  }

  std::string name() const override { return "language-model"; }
  models::ModelKind kind() const override { return settings_.model.kind; }
  nn::Parameters parameters() override { return model_.network->parameters(); }
  int64_t parameter_count() override { return model_.network->parameter_count(); }

  int64_t start_epoch(int64_t epoch) override {
    epoch_ = epoch;
    return std::max<int64_t>(static_cast<int64_t>(ids_[0].size()) / (length_ * sequences_), 1);
  }

  // Windows that begin anywhere: window i of a batch is a function of (seed, epoch, batch, i).
  autograd::Var loss(int64_t batch, nn::Context& context, int64_t& tokens) override {
    tokens = length_ * sequences_;
    Tensor ids = Tensor::empty({tokens}, DType::kI32);
    Tensor targets = Tensor::empty({tokens}, DType::kI32);
    const RandomKey key{settings_.seed, (uint64_t{1} << 40) + static_cast<uint64_t>(epoch_)};
    const auto starts = static_cast<uint64_t>(static_cast<int64_t>(ids_[0].size()) - length_);
    for (int64_t i = 0; i < sequences_; ++i) {
      const auto words = key.block(static_cast<uint64_t>(batch * sequences_ + i));
      const auto random = uint64_t{words[0]} << 32 | words[1];
      const auto start = static_cast<size_t>((static_cast<uint128>(random) * starts) >> 64);
      std::copy_n(ids_[0].data() + start, length_, ids.data<int32_t>() + i * length_);
      std::copy_n(ids_[0].data() + start + 1, length_, targets.data<int32_t>() + i * length_);
    }
    return model_.network->loss(ids, targets, Offsets::uniform(sequences_, length_), context);
  }

  Evaluation evaluate(Split split) override {
    Evaluation e;
    const auto& ids = ids_[static_cast<size_t>(split)];
    const auto likelihood = model_.likelihood(ids);
    e.examples = likelihood.tokens;
    if (likelihood.tokens == 0) return e;
    const double loss = likelihood.nats / static_cast<double>(likelihood.tokens);
    // A weight that is not finite shows here first when the gradients were: the score must lose, not throw.
    const bool finite = std::isfinite(loss) && loss >= 0;
    const auto characters = characters_in(texts_[static_cast<size_t>(split)]);
    e.figures = {
        {"loss", loss},
        {"perplexity", finite ? metrics::perplexity(likelihood.nats, likelihood.tokens) : loss},
        {"bits_per_character", finite ? metrics::bits_per_character(likelihood.nats, characters) : loss}};
    e.score = finite ? -loss : -1e30;
    return e;
  }

  void save_description(const std::filesystem::path& folder) override { model_.save_description(folder); }
  void save_weights(const std::filesystem::path& folder) override { model_.save_weights(folder); }
  void load_weights(const std::filesystem::path& folder) override { model_ = TextGenerator::load(folder); }
  DataDigest data_digest() const override { return digest_; }
  std::string describe_data() const override { return description_; }

 private:
  void read_texts(LogSink* log) {
    const auto load = [&](const std::string& file) {
      data::ReadText read = data::read_text(find_file(file, settings_.base), settings_.read);
      if (log != nullptr) log->log(LogLevel::kInfo, read.report.to_text());
      return std::move(read.text);
    };
    source_ = settings_.file.empty() ? settings_.train : settings_.file;
    texts_[0] = load(source_);
    check_data(!texts_[0].empty(), formats::printable(source_),
               "expected text, found an empty file; give another data.file");
    const double valid = settings_.valid.empty() ? settings_.valid_share : 0.0;
    const double test = settings_.test.empty() ? settings_.test_share : 0.0;
    const size_t train_end = cut_at(texts_[0], 1 - valid - test), valid_end = cut_at(texts_[0], 1 - test);
    texts_[1] =
        settings_.valid.empty() ? texts_[0].substr(train_end, valid_end - train_end) : load(settings_.valid);
    texts_[2] = settings_.test.empty() ? texts_[0].substr(valid_end) : load(settings_.test);
    texts_[0].resize(train_end);
    digest_.unit = "bytes";
    const std::array<const std::string*, 3> sources = {&source_, &settings_.valid, &settings_.test};
    for (size_t split = 0; split < 3; ++split) {
      digest_.parts.push_back(
          digest_text(sources[split]->empty() ? source_ : *sources[split], texts_[split]));
      digest_.splits[split].rows = static_cast<int64_t>(texts_[split].size());
    }
  }

  Settings settings_;
  std::string source_, description_;
  DataDigest digest_;
  std::array<std::string, 3> texts_;
  std::array<std::vector<int32_t>, 3> ids_;
  TextGenerator model_;
  int64_t length_ = 0, sequences_ = 0, epoch_ = 0;
};

class Reader final : public TaskReader {
 public:
  explicit Reader(const formats::Recipe& recipe) : settings_(read_settings(recipe)) {}
  std::unique_ptr<Task> open(const TaskOptions& options) override {
    return std::make_unique<LanguageModelTask>(settings_, options);
  }

 private:
  Settings settings_;
};

}  // namespace

std::unique_ptr<TaskReader> read_language_modeling(const formats::Recipe& recipe) {
  return std::make_unique<Reader>(recipe);
}

}  // namespace fovea::tasks
