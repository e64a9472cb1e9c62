// Probabilities: of the classes, or of the token that follows the chosen one.
function probabilityBars(candidates, marked) {
  return h("ol", {class: "probs"}, candidates.names.slice(0, 20).map((name, i) => h("li", {class: name === marked ? "marked" : ""},
    h("span", {class: "name", title: name, text: visible(name)}), h("span", {class: "meter"}, h("i", {style: {width: Math.max(0.3, 100 * candidates.probabilities[i]) + "%"}})),
    h("span", {class: "num", text: percent(candidates.probabilities[i])}))));
}
function drawPrediction() {
  const box = $("#prediction-body"), e = example();
  if (!box) return;
  if (!e.next.length) {
    const more = e.prediction.names.length - 20;
    box.replaceChildren(probabilityBars(e.prediction, e.truth), more > 0 ? h("p", {class: "note", text: `and ${more} more`}) : "");
    return;
  }
  const tokens = shownTokens(), t = tokens.length ? tokens[tokens.length - 1] : e.next.length - 1, next = e.next[t];
  const follows = t + 1 < e.tokens.text.length ? shownText(t + 1) : null;
  box.replaceChildren(h("p", {}, "After ", h("b", {text: "…" + visible(e.tokens.text.slice(Math.max(0, t - 5), t + 1).join(""))}), tokens.length ? "" : " (the end)"),
    probabilityBars(next, follows),
    h("p", {class: "note", text: follows === null || next.actual === null ? "Nothing follows in this text." : `What follows is ${quoted(follows)}, held ${percent(next.actual)} likely (${number(-Math.log2(next.actual))} bits).`}));
}
function predictionPanel() {
  return panel("prediction", isLanguageModel() ? "What comes next" : "Probabilities", isLanguageModel() ? "of the token after the chosen one" : null, h("div", {id: "prediction-body"}));
}
