// The strip at the top: what was predicted, how surely, and whether the explanations agree.
function card(title, value, detail, extra) {
  return h("div", {class: "card " + (extra || "")}, h("div", {class: "label", text: title}), h("div", {class: "value"}, value),
    detail ? h("div", {class: "detail"}, detail) : null);
}
function agreementWord(tau) {
  if (tau === null) return "not defined";
  const a = Math.abs(tau), size = a < 0.1 ? "no" : a < 0.3 ? "weak" : a < 0.6 ? "moderate" : "strong";
  return tau < 0 && a >= 0.1 ? size + " disagreement" : size + " agreement";
}
// Bits of surprise of each token, given those before it; NaN where the model did not say.
function surprises(e) {
  return e.tokens.text.map((_, i) => i > 0 && e.next[i - 1] && e.next[i - 1].actual > 0 ? -Math.log2(e.next[i - 1].actual) : NaN);
}
function drawVerdict() {
  const e = example(), m = page.model, strip = $("#verdict");
  if (!e) { strip.replaceChildren(card("Model", m.name || "–", m.kind)); return; }
  const cards = [], p = e.prediction;
  if (p.names.length) {
    const right = e.truth === "" ? null : e.truth === p.names[0];
    const second = p.names.length > 1 ? `then ${shortened(visible(p.names[1]), 24)} ${percent(p.probabilities[1])}` : null;
    cards.push(card(isLanguageModel() ? "Next token" : "Prediction", visible(p.names[0]),
      right === null ? second : [h("span", {class: right ? "good" : "bad", text: right ? "✓ right" : "✗ wrong"}), right ? (second ? " · " + second : "") : ` · truth: ${e.truth}`], "wide"));
    cards.push(card("Confidence", percent(p.probabilities[0]), h("div", {class: "meter", role: "img", "aria-label": percent(p.probabilities[0])}, h("i", {style: {width: 100 * p.probabilities[0] + "%"}}))));
  }
  const bits = surprises(e).filter(b => !Number.isNaN(b));
  if (bits.length) {
    const mean = bits.reduce((a, b) => a + b, 0) / bits.length;
    cards.push(card("Perplexity here", number(Math.pow(2, mean)), `${number(mean)} bits a token`));
  }
  const pair = e.agreement[0];
  if (pair) {
    cards.push(card("Agreement", pair.tau === null ? "–" : "τ " + pair.tau.toFixed(2),
      `${agreementWord(pair.tau)}: ${e.relevance[pair.a].name} and ${e.relevance[pair.b].name}`, "wide"));
  }
  if (m.kernel || m.isa) cards.push(card("Kernel", m.kernel || "–", m.isa, "small"));
  cards.push(card("Model", m.kind || "–", [m.hash ? "hash " + m.hash.slice(0, 12) + " · " : "", "seed " + m.seed, m.parameters ? " · " + number(m.parameters) + " parameters" : ""], "small wide"));
  strip.replaceChildren(...cards);
}
