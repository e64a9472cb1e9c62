#include "attention/score.hpp"

#include "attention/score_cosine.hpp"
#include "attention/score_neg_squared_l2.hpp"
#include "attention/score_neg_squared_lorentz.hpp"
#include "attention/score_rule.hpp"

namespace fovea {
namespace {

template <class Use>
auto with_rule(Score score, const Use& use) {
  switch (score) {
    case Score::kDot:
      return use(DotScore{});
    case Score::kCosine:
      return use(CosineScore{});
    case Score::kNegSquaredL2:
      return use(NegSquaredL2Score{});
    case Score::kNegSquaredLorentz:
      return use(NegSquaredLorentzScore{});
    case Score::kScaledDot:
      break;
  }
  return use(ScaledDotScore{});
}

template <class T>
HeadsView<T> empty_rows(const HeadsView<const T>& x, int64_t extra, Tensor& made) {
  made = Tensor::empty({x.dim(0), x.dim(1), x.dim(2) + extra}, dtype_of<T>);
  return contiguous_view<T, 3>(made.data<T>(), {made.dim(0), made.dim(1), made.dim(2)});
}

template <class T>
ScoreSide<T> query_side(const ScoreOperands<T>& in) {
  return {true, in.q, in.q_offsets};
}
template <class T>
ScoreSide<T> key_side(const ScoreOperands<T>& in) {
  return {false, in.k, in.k_offsets};
}

}  // namespace

int64_t extra_width(Score score) {
  return with_rule(score, [](auto rule) { return rule.kExtra; });
}

double usual_scale(Score score, int64_t width) {
  // A width of 0 has no numbers to scale: every product is 0.
  return width == 0 ? 1.0 : with_rule(score, [width](auto rule) { return rule.scale(width); });
}

bool is_distance(Score score) {
  return with_rule(score, [](auto rule) { return rule.kDifferences; });
}

bool reads_as_given(Score score) {
  return with_rule(score, [](auto rule) { return !rule.kMakes; });
}

template <class T>
ScoreRows<T> make_rows(const ScoreOperands<T>& in) {
  ScoreRows<T> rows{in.q, in.k, Tensor(), Tensor()};
  with_rule(in.score, [&](auto rule) {
    if (!rule.kMakes) return;
    using Rule = decltype(rule);
    rows.q = empty_rows(in.q, rule.kExtra, rows.made_q);
    make_side<Rule>(query_side(in), rows.made_q.template data<T>());
    if (in.k.data == nullptr) return;
    rows.k = empty_rows(in.k, rule.kExtra, rows.made_k);
    make_side<Rule>(key_side(in), rows.made_k.template data<T>());
  });
  return rows;
}

void key_terms(Score score, int64_t keys, const float* squared, float* factor, float* extra) {
  with_rule(score, [&](auto rule) {
    for (int64_t j = 0; j < keys; ++j) {
      const RowTerms<float> terms = rule.template terms<float>(false, static_cast<double>(squared[j]));
      factor[j] = terms.factor;
      for (int64_t e = 0; e < rule.kExtra; ++e) extra[e * keys + j] = terms.extra[e];
    }
  });
}

template <class T>
RowGradients<T>::RowGradients(const ScoreOperands<T>& in, const HeadsView<T>& to_q, const HeadsView<T>& to_k)
    : dq(to_q), dk(to_k), in_(in), wanted_q_(to_q), wanted_k_(to_k) {
  with_rule(in.score, [&](auto rule) {
    if (rule.kMakes && to_q.data != nullptr) dq = empty_rows(in.q, rule.kExtra, made_q_);
    if (rule.kMakes && to_k.data != nullptr) dk = empty_rows(in.k, rule.kExtra, made_k_);
  });
}

template <class T>
void RowGradients<T>::pull_back() const {
  with_rule(in_.score, [&](auto rule) {
    if (made_q_.defined()) rule.pull_back(query_side(in_), made_q_.template data<T>(), wanted_q_);
    if (made_k_.defined()) rule.pull_back(key_side(in_), made_k_.template data<T>(), wanted_k_);
  });
}

WithRows::WithRows(const AttentionInputs& given, Score score)
    : rows(make_rows(operands_of(given, score))), inputs(given) {
  inputs.q = rows.q;
  inputs.k = rows.k;
}

template ScoreRows<float> make_rows(const ScoreOperands<float>&);
template ScoreRows<double> make_rows(const ScoreOperands<double>&);
template class RowGradients<float>;
template class RowGradients<double>;

}  // namespace fovea
