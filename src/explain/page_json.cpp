#include "explain/page_json.hpp"

#include <cmath>
#include <cstring>
#include <span>

#include "base/check.hpp"
#include "base/number_text.hpp"
#include "explain/attention_maps.hpp"
#include "explain/encoding.hpp"
#include "fovea/explain/agreement.hpp"

namespace fovea::explain {
namespace {

using nlohmann::json;

constexpr std::string_view kCall = "render_page";

// Four significant digits are more than a page shows; NaN and infinity become null.
json figure(double value) {
  if (!std::isfinite(value)) return nullptr;
  return number_in<double>(fmt::format("{:.4g}", value)).value();
}

json figures(std::span<const double> values) {
  json list = json::array();
  for (const double v : values) list.push_back(figure(v));
  return list;
}

std::string floats_base64(std::span<const float> values) {
  std::vector<uint8_t> bytes(values.size_bytes());
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return base64(bytes);
}

json candidates(const std::vector<PageCandidate>& list) {
  json names = json::array(), probabilities = json::array();
  for (const PageCandidate& c : list) {
    names.push_back(c.name);
    probabilities.push_back(figure(c.probability));
  }
  return {{"names", std::move(names)}, {"probabilities", std::move(probabilities)}};
}

json attention_json(const PageAttention& attention, int64_t tokens, const PageOptions& options) {
  const EncodedAttention encoded = encode_attention(attention, tokens, options);
  json heads = json::array();
  for (const EncodedHead& head : encoded.heads) {
    const HeadFigures& f = head.figures;
    heads.push_back({{"entropy", figure(f.entropy)},
                     {"first", figure(f.first_share)},
                     {"self", figure(f.self_share)},
                     {"distance", figure(f.distance)},
                     {"strongest", figure(f.strongest)},
                     {"topKeys", f.top_keys},
                     {"rows", head.rows},
                     {"overview", head.overview},
                     {"rowEntropy", head.row_entropy},
                     {"keyMass", head.key_mass}});
  }
  const Quantiser& q = encoded.quantiser;
  return {{"layers", attention.layers},
          {"heads", attention.heads},
          {"members", attention.members},
          {"causal", attention.causal},
          {"power", q.power},
          {"maximum", q.maximum},
          {"overviewPower", kQuantisers.front().power},
          {"overviewMaximum", kQuantisers.front().maximum},
          {"topK", encoded.top_k},
          {"tiles", encoded.tiles},
          {"maps", std::move(heads)}};
}

// Every pair of relevances, so that the reader sees at once whether they tell the same story.
json agreements(const std::vector<PageRelevance>& relevance) {
  json list = json::array();
  for (size_t i = 0; i < relevance.size(); ++i) {
    for (size_t j = i + 1; j < relevance.size(); ++j) {
      // Signed methods say for or against, rollout only how much: compare sizes.
      std::vector<float> a = relevance[i].values, b = relevance[j].values;
      for (float& x : a) x = std::abs(x);
      for (float& x : b) x = std::abs(x);
      list.push_back(
          {{"a", i}, {"b", j}, {"tau", figure(kendall_tau(a, b))}, {"rho", figure(spearman_rho(a, b))}});
    }
  }
  return list;
}

json example_json(const PageExample& example, const PageOptions& options) {
  const auto tokens = static_cast<int64_t>(example.tokens.size());
  json texts = json::array(), words = json::array(), spans = json::array();
  for (const PageToken& token : example.tokens) {
    texts.push_back(token.text);
    words.push_back(token.word);
    spans.push_back({token.begin, token.end});
  }
  json result{
      {"title", example.title},
      {"text", example.text},
      {"tokens", {{"text", std::move(texts)}, {"word", std::move(words)}, {"span", std::move(spans)}}},
      {"prediction", candidates(example.prediction)},
      {"truth", example.truth}};

  json relevance = json::array();
  for (const PageRelevance& r : example.relevance) {
    check_argument(static_cast<int64_t>(r.values.size()) == tokens, kCall,
                   "expected one value of {} for each of {} tokens, got {}", r.name, tokens, r.values.size());
    relevance.push_back(
        {{"name", r.name}, {"description", r.description}, {"values", floats_base64(r.values)}});
  }
  result["relevance"] = std::move(relevance);
  result["agreement"] = agreements(example.relevance);

  check_argument(example.next.empty() || static_cast<int64_t>(example.next.size()) == tokens, kCall,
                 "expected next-token candidates for each of {} tokens or for none, got {}", tokens,
                 example.next.size());
  json next = json::array();
  for (const PageNextToken& n : example.next) {
    next.push_back(candidates(n.candidates));
    next.back()["actual"] = n.actual < 0 ? json(nullptr) : figure(n.actual);
  }
  result["next"] = std::move(next);

  const PageAttention& attention = example.attention;
  if (attention.layers > 0 && attention.heads > 0 && tokens > 0) {
    check_argument(attention.rows != nullptr, kCall,
                   "expected attention.rows with {} layers of {} heads, got none", attention.layers,
                   attention.heads);
    result["attention"] = attention_json(attention, tokens, options);
  }
  return result;
}

json quality_json(const PageQuality& quality) {
  json metrics = json::array(), classes = json::array(), curves = json::array(), calibration = json::array();
  for (const PageMetric& m : quality.metrics) {
    metrics.push_back(
        {{"name", m.name}, {"value", figure(m.value)}, {"low", figure(m.low)}, {"high", figure(m.high)}});
  }
  for (const PageClassScore& c : quality.classes) {
    classes.push_back({{"name", c.name},
                       {"precision", figure(c.precision)},
                       {"recall", figure(c.recall)},
                       {"f1", figure(c.f1)},
                       {"support", c.support}});
  }
  const size_t count = quality.classes.size();
  check_argument(quality.confusion.empty() || quality.confusion.size() == count * count, kCall,
                 "expected a confusion matrix of {} × {} classes, got {} cells", count, count,
                 quality.confusion.size());
  for (const PageCurve& c : quality.curves) {
    check_argument(c.step.size() == c.value.size(), kCall,
                   "expected as many steps as values of {}, got {} and {}", c.name, c.step.size(),
                   c.value.size());
    curves.push_back({{"name", c.name}, {"split", c.split}, {"step", c.step}, {"value", figures(c.value)}});
  }
  for (const PageCalibrationBin& b : quality.calibration) {
    calibration.push_back(
        {{"confidence", figure(b.confidence)}, {"accuracy", figure(b.accuracy)}, {"count", b.count}});
  }
  return {{"split", quality.split},        {"metrics", std::move(metrics)},
          {"classes", std::move(classes)}, {"confusion", quality.confusion},
          {"curves", std::move(curves)},   {"calibration", std::move(calibration)}};
}

}  // namespace

json page_json(const PageData& data, const PageOptions& options) {
  json examples = json::array();
  for (const PageExample& example : data.examples) examples.push_back(example_json(example, options));
  const PageModel& m = data.model;
  return {{"format", "fovea-page"},
          {"version", 1},
          {"title", data.title},
          {"model",
           {{"name", m.name},
            {"kind", m.kind},
            {"task", m.task},
            {"hash", m.hash},
            {"kernel", m.kernel},
            {"isa", m.isa},
            {"seed", std::to_string(m.seed)},  // 64 bits do not survive a JavaScript number
            {"parameters", m.parameters}}},
          {"examples", std::move(examples)},
          {"quality", quality_json(data.quality)}};
}

}  // namespace fovea::explain
