#include "tasks/text_classification.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/check.hpp"
#include "fovea/autograd/functions/losses.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/formats/paths.hpp"
#include "fovea/tasks/classifier.hpp"
#include "fovea/tasks/evaluate.hpp"
#include "tasks/keys.hpp"
#include "tasks/text_rows.hpp"
#include "tasks/token_batches.hpp"

namespace fovea::tasks {
namespace {

using models::ModelKind;

struct Settings {
  uint64_t seed = 1;
  TextDataSettings data;
  formats::TokenizerOptions tokenizer;
  double sampling = 0.0;  // sub-word regularisation; 0: none
  models::TextClassifierConfig model;
  models::NgramOptions ngrams;
  models::LinearTrainOptions linear;
  int64_t linear_epochs = 10;
  int64_t batch_tokens = 4096;
  double label_smoothing = 0.0;
  bool balance = false;  // class weights N / (classes · count)
};

Settings read_settings(const formats::Recipe& recipe) {
  const Keys key(recipe);
  Settings s;
  s.seed = static_cast<uint64_t>(recipe.integer("seed", 1, 0, int64_t{1} << 40));
  s.data = read_text_data_settings(recipe);
  const auto kind =
      recipe.choice(key("tokenizer.kind"), "unigram", {"bytes", "characters", "words", "unigram", "bpe"});
  s.tokenizer.kind = formats::tokenizer_kind(kind);
  s.tokenizer.vocab_size = recipe.integer(key("tokenizer.vocab_size"), 8000, 0, 1 << 24);
  s.tokenizer.lowercase = recipe.boolean(key("tokenizer.lowercase"), true);
  s.tokenizer.min_count = recipe.integer(key("tokenizer.min_count"), 1, 1, 1 << 30);
  s.sampling = recipe.number(key("tokenizer.sampling"), 0.0, 0.0, 100.0);
  auto& m = s.model;
  m.kind = key.kind();
  m.layers = recipe.integer(key("model.layers"), m.layers, 1, 1024);
  m.width = recipe.integer(key("model.width"), m.width, 1, 1 << 16);
  m.members = recipe.integer(key("model.members"), m.members, 1, 64);
  m.heads = recipe.integer(key("model.heads"), m.heads, 1, 1024);
  m.feed_forward = recipe.integer(key("model.feed_forward"), 4 * m.width, 1, 1 << 18);
  const std::vector<std::string> pooling =
      recipe.texts(key("model.pooling"), models::pooling_names(m.pooling));
  try {
    m.pooling = models::poolings(pooling);
  } catch (const ArgumentError&) {
    recipe.fail("model.pooling", fmt::format("expected one or more of first, last, mean, max and attention, "
                                             "none twice, found [{}]",
                                             fmt::join(pooling, ", ")));
  }
  m.max_tokens = recipe.integer(key("model.max_tokens"), m.max_tokens, 1, 1 << 20);
  m.ngrams = recipe.integer(key("model.ngrams"), m.ngrams, 1, 8);
  m.ngram_buckets = recipe.integer(key("model.ngram_buckets"), m.ngram_buckets, 1, 1 << 26);
  m.char_ngrams = recipe.integer(key("model.char_ngrams"), m.char_ngrams, 0, 32);
  m.char_buckets = recipe.integer(key("model.char_buckets"), m.char_buckets, 1, 1 << 26);
  const auto rate = [&](const char* name, float& value) {
    value = static_cast<float>(
        recipe.number(key(std::string("model.") + name), static_cast<double>(value), 0.0, 0.99));
  };
  rate("token_dropout", m.token_dropout);
  rate("word_dropout", m.word_dropout);
  rate("ngram_dropout", m.ngram_dropout);
  rate("embedding_dropout", m.embedding_dropout);
  rate("dropout", m.dropout);
  rate("attention_dropout", m.attention_dropout);
  rate("pooled_dropout", m.pooled_dropout);
  s.ngrams.words = static_cast<int>(recipe.integer("linear.words", s.ngrams.words, 0, 8));
  s.ngrams.chars_min = static_cast<int>(recipe.integer("linear.chars_min", s.ngrams.chars_min, 1, 16));
  s.ngrams.chars_max = static_cast<int>(recipe.integer("linear.chars_max", s.ngrams.chars_max, 0, 16));
  s.ngrams.min_count = recipe.integer("linear.min_count", s.ngrams.min_count, 1, 1 << 30);
  s.linear.learning_rate = recipe.number("linear.learning_rate", s.linear.learning_rate, 0.0, 1e6);
  s.linear.l2 = recipe.number("linear.l2", s.linear.l2, 0.0, 1e6);
  s.linear_epochs = recipe.integer("linear.epochs", s.linear_epochs, 1, 100000);
  s.linear.seed = s.seed;
  s.batch_tokens = recipe.integer(key("train.batch_tokens"), s.batch_tokens, 1, int64_t{1} << 32);
  s.label_smoothing = recipe.number(key("train.label_smoothing"), 0.0, 0.0, 0.99);
  s.linear.label_smoothing = 0.0;  // it costs the linear model accuracy: its weights are held by l2
  s.balance = recipe.boolean("train.balance_classes", false);
  if (s.ngrams.words == 0 && s.ngrams.chars_max == 0)
    recipe.fail("linear.words", "expected words or chars_max above 0");
  if (m.kind == ModelKind::kAttention && m.width % m.heads != 0) {
    recipe.fail("model.heads", fmt::format("expected a divisor of the width {}, found {}", m.width, m.heads));
  }
  if (m.kind == ModelKind::kLstm && m.width % 2 != 0)
    recipe.fail("model.width", "expected an even width for the LSTM");
  return s;
}

class TextClassificationTask final : public Task {
 public:
  TextClassificationTask(Settings settings, const TaskOptions& options)
      : settings_(std::move(settings)),
        progress_(options.progress),
        log_(options.log),
        rows_(read_text_rows(settings_.data, options.log)) {
    model_.kind = settings_.model.kind;
    model_.classes = rows_.classes;
    model_.text_column = rows_.text_column;
    model_.target_column = rows_.target_column;
    if (settings_.balance) weigh_classes();
    if (model_.kind != ModelKind::kLinear && model_.kind != ModelKind::kMajority) open_network(options);
  }

  std::string name() const override { return "text-classification"; }
  ModelKind kind() const override { return model_.kind; }
  nn::Parameters parameters() override {
    return model_.network ? model_.network->parameters() : nn::Parameters{};
  }
  int64_t parameter_count() override { return model_.parameter_count(); }
  int64_t start_epoch(int64_t epoch) override;
  autograd::Var loss(int64_t batch, nn::Context& context, int64_t& tokens) override;
  void fit() override;
  Evaluation evaluate(Split split) override;
  void save_description(const std::filesystem::path& folder) override {
    // The linear model's features are known only after the fit.
    if (model_.network || fitted_) model_.save_description(folder);
  }
  void save_weights(const std::filesystem::path& folder) override {
    model_.save_description(folder);
    model_.save_weights(folder);
  }
  void load_weights(const std::filesystem::path& folder) override { model_ = Classifier::load(folder); }
  DataDigest data_digest() const override { return digest_of(rows_); }
  std::string describe_data() const override { return rows_.description; }

 private:
  void weigh_classes();
  void open_network(const TaskOptions& options);
  std::vector<std::string_view> texts_of(Split split) const;
  std::vector<int32_t> labels_of(Split split) const;

  Settings settings_;
  ProgressSink* progress_;
  LogSink* log_;
  TextRows rows_;
  Classifier model_;
  std::vector<float> class_weights_;
  bool fitted_ = false;
  std::array<std::vector<models::EncodedText>, 3> encoded_;  // unsampled
  std::vector<models::EncodedText> sampled_;                 // of this epoch
  std::vector<int64_t> lengths_;
  TokenBatches batches_;
};

std::vector<std::string_view> TextClassificationTask::texts_of(Split split) const {
  std::vector<std::string_view> texts;
  for (const auto& row : rows_.splits[static_cast<size_t>(split)]) texts.push_back(row.text);
  return texts;
}

std::vector<int32_t> TextClassificationTask::labels_of(Split split) const {
  std::vector<int32_t> labels;
  for (const auto& row : rows_.splits[static_cast<size_t>(split)]) labels.push_back(row.label);
  return labels;
}

void TextClassificationTask::weigh_classes() {
  class_weights_.assign(rows_.classes.size(), 0.0F);
  for (const auto& row : rows_.splits[0]) class_weights_[static_cast<size_t>(row.label)] += 1.0F;
  const auto total = static_cast<float>(rows_.splits[0].size());
  for (float& w : class_weights_) w = total / (static_cast<float>(rows_.classes.size()) * w);
}

void TextClassificationTask::open_network(const TaskOptions& options) {
  const auto known = options.resume_from / "tokenizer.json";
  if (!options.resume_from.empty() && formats::exists(known)) {
    model_.tokenizer = formats::Tokenizer::load(options.resume_from);
  } else {
    const auto texts = texts_of(Split::kTrain);
    model_.tokenizer = formats::train_tokenizer(texts, settings_.tokenizer);
  }
  settings_.model.vocab_size = model_.tokenizer->vocab_size();
  settings_.model.classes = static_cast<int64_t>(rows_.classes.size());
  model_.network = std::make_shared<models::TextEnsemble>(settings_.model, settings_.seed);
  std::array<std::vector<char>, 3> cut;  // whether a text was
  for (size_t split = 0; split < 3; ++split) {
    const auto& rows = rows_.splits[split];
    encoded_[split].resize(rows.size());
    cut[split].resize(rows.size());
    parallel_for(static_cast<int64_t>(rows.size()), 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto text = rows[static_cast<size_t>(i)].text;
        bool was_cut = false;
        encoded_[split][static_cast<size_t>(i)] =
            models::network_input(text, model_.encode(text, &was_cut), settings_.model);
        cut[split][static_cast<size_t>(i)] = was_cut ? 1 : 0;
      }
    });
  }
  for (const auto& text : encoded_[0]) lengths_.push_back(static_cast<int64_t>(text.ids.size()));
  int64_t shortened = 0;
  for (const auto& split : cut) shortened += std::count(split.begin(), split.end(), 1);
  if (shortened > 0 && log_ != nullptr) {
    log_->log(LogLevel::kWarning,
              fmt::format("{} texts are longer than model.max_tokens = {} and are cut there", shortened,
                          settings_.model.max_tokens));
  }
}

int64_t TextClassificationTask::start_epoch(int64_t epoch) {
  batches_ = token_batches(lengths_, settings_.batch_tokens, settings_.seed, epoch);
  if (settings_.sampling > 0) {
    const auto& rows = rows_.splits[0];
    sampled_.resize(rows.size());
    parallel_for(static_cast<int64_t>(rows.size()), 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto row = static_cast<size_t>(i);
        // Long texts are cut before they are segmented, as Classifier::encode does.
        const auto bytes = static_cast<size_t>(settings_.model.max_tokens) * 16;
        const auto text = rows[row].text.substr(0, std::min(rows[row].text.size(), bytes));
        const RandomKey key{settings_.seed,
                            (uint64_t{1} << 41) + static_cast<uint64_t>(epoch) * rows.size() + row};
        auto encoding = model_.tokenizer->encode(text, formats::Sampling{settings_.sampling, key});
        const auto most = std::min(encoding.ids.size(), static_cast<size_t>(settings_.model.max_tokens));
        encoding.ids.resize(most);
        encoding.spans.resize(most);
        sampled_[row] = models::network_input(text, encoding, settings_.model);
      }
    });
  }
  return batches_.count();
}

autograd::Var TextClassificationTask::loss(int64_t batch, nn::Context& context, int64_t& tokens) {
  const auto& texts = settings_.sampling > 0 ? sampled_ : encoded_[0];
  const auto rows = batches_.rows(batch);
  std::vector<const models::EncodedText*> chosen;
  chosen.reserve(rows.size());
  Tensor labels = Tensor::empty({static_cast<int64_t>(rows.size())}, DType::kI32);
  for (const int32_t row : rows) {
    labels.data<int32_t>()[chosen.size()] = rows_.splits[0][static_cast<size_t>(row)].label;
    chosen.push_back(&texts[static_cast<size_t>(row)]);
  }
  const auto input = models::make_batch(chosen);
  tokens = input.offsets.total();
  autograd::CrossEntropyOptions options;
  options.label_smoothing = static_cast<float>(settings_.label_smoothing);
  if (!class_weights_.empty()) {
    options.class_weights = Tensor::from<float>(std::span<const float>(class_weights_),
                                                {static_cast<int64_t>(class_weights_.size())});
  }
  return model_.network->loss(input, labels, options, context);
}

void TextClassificationTask::fit() {
  const auto labels = labels_of(Split::kTrain);
  const auto classes = static_cast<int64_t>(rows_.classes.size());
  fitted_ = true;
  if (model_.kind == ModelKind::kMajority) {
    model_.shares = Tensor::zeros({classes});
    for (const int32_t label : labels) model_.shares.data()[label] += 1.0F;
    for (int64_t c = 0; c < classes; ++c) model_.shares.data()[c] /= static_cast<float>(labels.size());
    return;
  }
  const auto texts = texts_of(Split::kTrain);
  model_.ngrams = models::Ngrams::fit(texts, settings_.ngrams);
  models::SparseRows rows;
  for (const std::string_view text : texts) model_.ngrams.transform(text, rows);
  models::LinearTrainer trainer(rows, labels, model_.ngrams.size(), classes, class_weights_,
                                settings_.linear);
  double best = 0;
  models::LinearClassifier kept;
  for (int64_t epoch = 0; epoch < settings_.linear_epochs; ++epoch) {
    const double loss = trainer.run_epoch();
    model_.linear = trainer.model();
    const auto valid = evaluate(Split::kValid);
    // Without validation rows the last weights are kept.
    if (!kept.weight.defined() || valid.examples == 0 || valid.score > best) {
      best = valid.score;
      kept = {model_.linear.weight.clone(), model_.linear.bias.clone()};
    }
    if (progress_ != nullptr) {
      progress_->progress({"train", epoch + 1, settings_.linear_epochs, 0, loss, {}});
      if (progress_->stop_requested())
        throw Interrupted("stopped while fitting the linear model; start it again");
    }
  }
  model_.linear = kept;
}

Evaluation TextClassificationTask::evaluate(Split split) {
  auto probabilities = model_.network ? model_.probabilities_of(encoded_[static_cast<size_t>(split)])
                                      : model_.probabilities(texts_of(split));
  return evaluate_classes(labels_of(split), std::move(probabilities), rows_.classes);
}

class Reader final : public TaskReader {
 public:
  explicit Reader(const formats::Recipe& recipe) : settings_(read_settings(recipe)) {}
  std::unique_ptr<Task> open(const TaskOptions& options) override {
    return std::make_unique<TextClassificationTask>(settings_, options);
  }

 private:
  Settings settings_;
};

}  // namespace

std::unique_ptr<TaskReader> read_text_classification(const formats::Recipe& recipe) {
  return std::make_unique<Reader>(recipe);
}

}  // namespace fovea::tasks
