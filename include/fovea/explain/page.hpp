// The report: one offline HTML file that shows what a model did with an example and how good the model is.
// PageData is plain data, filled by explain_model or by hand; everything is optional, and a panel without
// data is not shown. The file's layout is written down in docs/formats/page.md. Not guarded: one thread at a
// time.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace fovea::explain {

// The model and the run that made the page.
struct PageModel {
  std::string name;        // folder or file
  std::string kind;        // "attention", "lstm", …
  std::string task;        // "text-classification", "language-model"
  std::string hash;        // of the weights, hexadecimal
  std::string kernel;      // which attention implementation served the call
  std::string isa;         // instruction set it ran on
  uint64_t seed = 0;       // of the training run
  int64_t parameters = 0;  // trained numbers
};

// One token of an example.
struct PageToken {
  // As the reader should see it: the token's own part of the input, blanks and all. Empty for a token that is
  // shown as one with those before it, for they stand for the same character.
  std::string text;
  int64_t word = -1;  // tokens of one word share a number; -1: a special token, a word by itself

  // Bytes [begin, end) of the input text.
  int64_t begin = 0;
  int64_t end = 0;
};

// One candidate of a prediction: a class, or a next token.
struct PageCandidate {
  std::string name;        // as the reader should see it
  double probability = 0;  // in [0, 1]
};

// A language model's view of one position: what it expected to follow, and how likely it held what did
// follow.
struct PageNextToken {
  std::vector<PageCandidate> candidates;  // strongest first
  double actual = -1;                     // probability of the token that follows; negative: none follows
};

// What each token had to do with the prediction, one number a token; `values` may be signed.
struct PageRelevance {
  std::string name;           // "rollout", "gradient × input", "occlusion"
  std::string description;    // one sentence for the reader: how it is computed and what the sign means
  std::vector<float> values;  // [tokens]
};

// All attention weights of one example, asked for a few rows at a time so that they need never be held at
// once.
struct PageAttention {
  int64_t layers = 0, heads = 0;  // of maps: there are layers · heads
  int64_t members = 1;  // models that decide together, the layers of each after those of the one before
  bool causal = false;  // no weight above the diagonal: half of each map need not be stored
  // Writes the exact weights of queries [begin, end) of one head over all N keys to out [end − begin, N].
  // Called more than once for the same rows, and must give the same values each time.
  std::function<void(int64_t layer, int64_t head, int64_t begin, int64_t end, float* out)> rows;
};

// One text: what it says, what the model made of it, and why.
struct PageExample {
  std::string title;                      // for the list of examples; empty: the beginning of the text
  std::string text;                       // as it was written
  bool cut = false;                       // the model reads no more tokens than these, the text has more
  std::vector<PageToken> tokens;          // as the model read it, N of them
  std::vector<PageCandidate> prediction;  // strongest first; the classes, or the token after the last
  std::string truth;                      // the true label; empty when unknown
  std::vector<PageNextToken> next;        // language models: one for each token, or empty
  std::vector<PageRelevance> relevance;   // any number of methods, side by side
  PageAttention attention;                // without `rows`: no maps are shown
};

// One row of the table of classes; what the scores are says metrics/precision_recall.hpp.
struct PageClassScore {
  std::string name;                          // of the class
  double precision = 0, recall = 0, f1 = 0;  // in [0, 1]
  int64_t support = 0;                       // rows whose true class this is
};

// A line of a chart.
struct PageCurve {
  std::string name;                 // "loss", "accuracy": one chart each
  std::string split;                // "train", "validation": one line each
  std::vector<double> step, value;  // its points, as many of one as of the other; steps ascend
};

// A bin of the reliability diagram: `count` predictions of mean confidence `confidence`, right in `accuracy`
// of them.
struct PageCalibrationBin {
  double confidence = 0, accuracy = 0;  // in [0, 1]
  int64_t count = 0;                    // 0: the bin is empty
};

// One figure of the model's quality.
struct PageMetric {
  std::string name;          // "accuracy", as the reader should see it
  double value = 0;          // in the metric's own unit
  double low = 0, high = 0;  // its interval; none when low == high
};

// How good the model is, on data held back from training.
struct PageQuality {
  std::string split;                            // which rows: "test", "validation"
  std::vector<PageMetric> metrics;              // in the order they are shown
  std::vector<PageClassScore> classes;          // by class number
  std::vector<int64_t> confusion;               // [classes, classes], row = truth, column = prediction
  std::vector<PageCurve> curves;                // of the training
  std::vector<PageCalibrationBin> calibration;  // by rising confidence
};

// All that a page shows.
struct PageData {
  std::string title;                  // of the page, and of the browser's tab
  PageModel model;                    // what made it
  std::vector<PageExample> examples;  // one is shown at a time
  PageQuality quality;                // the panels that do not depend on the example
};

// How large the page may grow.
struct PageOptions {
  // Bytes that the attention maps of one example may take in the file. Maps are stored with the finest
  // precision that fits, and as the strongest keys of each row when none does; the page says which, and how
  // large the error is. 0 chooses 1.6 MB up to 256 tokens, so that such a page stays under 2 MB, and 16 MB
  // for longer examples.
  int64_t attention_bytes = 0;
  // A row is stored whole up to this many tokens; beyond, only its strongest keys.
  int64_t exact_tokens = 2048;
};

// The page as one HTML document in UTF-8. Text is taken as it is; bytes that are not UTF-8 become U+FFFD.
// ArgumentError if the sizes do not agree: relevance or next against tokens, confusion against classes, a
// curve's steps against its values, attention without `rows`.
std::string render_page(const PageData& data, const PageOptions& options = {});

// render_page, written to a temporary file beside `path`, synced, and renamed over it: a reader sees the old
// page or the new one. DataError if the file cannot be written.
void write_page(const std::string& path, const PageData& data, const PageOptions& options = {});

}  // namespace fovea::explain
