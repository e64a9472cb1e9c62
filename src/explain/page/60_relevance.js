// Rollout, gradient × input and the like, one above the other over the same tokens, and how far they agree.
function relevanceChart(index) {
  const e = example(), values = relevanceValues(index), n = values.length, width = 1000, height = 64;
  let largest = 1e-12, signed = false;
  for (const v of values) { largest = Math.max(largest, Math.abs(v)); signed = signed || v < 0; }
  const middle = signed ? height / 2 : height - 1, room = signed ? height / 2 - 2 : height - 4, step = width / Math.max(1, n);
  const bars = [];
  for (let i = 0; i < n; ++i) {
    const size = Math.abs(values[i]) / largest * room;
    if (size < 0.15) continue;
    bars.push(svg("rect", {x: (i * step).toFixed(2), y: (values[i] >= 0 ? middle - size : middle).toFixed(2), width: Math.max(0.8, step * (step > 3 ? 0.86 : 1)).toFixed(2), height: size.toFixed(2), class: values[i] >= 0 ? "b-for" : "b-against"}));
  }
  const marks = shownTokens().map(t => svg("rect", {x: (t * step).toFixed(2), y: 0, width: Math.max(2, step).toFixed(2), height, class: "b-mark"}));
  const at = event => { const box = event.currentTarget.getBoundingClientRect(); return clamp(Math.floor((event.clientX - box.left) / box.width * n), 0, n - 1); };
  return svg("svg", {viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", class: "bars", role: "img", "aria-label": `${e.relevance[index].name} of each of ${n} tokens`,
    onpointermove: event => { const t = at(event); showTip(event.clientX, event.clientY, [quoted(shownText(t)), `token ${t} · ${e.relevance[index].name} ${number(values[t])}`]); },
    onpointerleave: hideTip, onclick: event => chooseToken(at(event), event.shiftKey)},
    marks, svg("line", {x1: 0, x2: width, y1: middle, y2: middle, class: "axis"}), bars);
}
function strongestTokens(values, count) {
  return [...values.keys()].sort((a, b) => Math.abs(values[b]) - Math.abs(values[a])).slice(0, count).filter(t => values[t] !== 0);
}
function drawRelevance() {
  const box = $("#relevance-body");
  if (!box) return;
  const e = example();
  box.replaceChildren(...e.relevance.map((r, i) => {
    const values = relevanceValues(i);
    return h("div", {class: "method"},
      h("div", {class: "method-head"}, h("h3", {text: r.name}), h("p", {class: "note", text: r.description})),
      relevanceChart(i),
      h("div", {class: "tops"}, strongestTokens(values, 8).map(t => h("button", {type: "button", class: "top-token " + (values[t] < 0 ? "neg" : "pos"), onclick: () => chooseToken(t, false)}, h("b", {text: visible(shownText(t).trim() || shownText(t))}), " " + number(values[t])))));
  }), e.agreement.length ? h("table", {class: "agree"}, h("caption", {text: "Rank agreement of the sizes"}),
    h("thead", {}, h("tr", {}, ["", "Kendall τ-b", "Spearman ρ", ""].map(text => h("th", {scope: "col", text})))),
    h("tbody", {}, e.agreement.map(a => h("tr", {}, h("th", {scope: "row", text: `${e.relevance[a.a].name} and ${e.relevance[a.b].name}`}), h("td", {text: a.tau === null ? "–" : a.tau.toFixed(3)}), h("td", {text: a.rho === null ? "–" : a.rho.toFixed(3)}), h("td", {class: "note", text: agreementWord(a.tau)}))))) : "");
}
function relevancePanel() {
  return panel("relevance", "What the prediction rests on", "click a bar to choose its token", h("div", {id: "relevance-body"}));
}
