// How good the model is on rows it was not trained on.
function metricCards(quality) {
  return h("div", {class: "cards"}, quality.metrics.map(m => card(m.name, number(m.value), m.low !== m.high && m.low !== null ? `${number(m.low)} – ${number(m.high)}, 95 %` : null)));
}
let classSort = "support";
function classTable(classes) {
  const table = h("table", {class: "classes"}), columns = ["name", "precision", "recall", "f1", "support"];
  const titles = {name: "class", precision: "precision", recall: "recall", f1: "F1", support: "rows"};
  const draw = () => {
    const rows = [...classes].sort((a, b) => classSort === "name" ? a.name.localeCompare(b.name) : b[classSort] - a[classSort]);
    table.replaceChildren(h("thead", {}, h("tr", {}, columns.map(c => h("th", {scope: "col", "aria-sort": c === classSort ? (c === "name" ? "ascending" : "descending") : null},
      h("button", {type: "button", class: "link", text: titles[c] + (c === classSort ? " ▾" : ""), onclick: () => { classSort = c; draw(); }}))))),
    h("tbody", {}, rows.map(r => h("tr", {}, h("th", {scope: "row", text: r.name}),
      ["precision", "recall", "f1"].map(c => h("td", {}, h("span", {class: "inbar", style: {"--w": r.support ? 100 * (r[c] || 0) + "%" : "0%"}, text: r[c] === null || !r.support ? "–" : r[c].toFixed(3)}))), h("td", {class: "num", text: number(r.support)})))));
  };
  draw();
  return table;
}
function confusionMatrix(quality) {
  const names = quality.classes.map(c => c.name), n = names.length, cell = clamp(Math.floor(420 / n), 16, 56), margin = 110;
  const counts = quality.confusion, size = margin + n * cell, parts = [];
  for (let t = 0; t < n; ++t) {
    let total = 0;
    for (let p = 0; p < n; ++p) total += counts[t * n + p];
    const text = {x: margin - 6, y: margin + (t + 0.5) * cell, class: "tick end", "dominant-baseline": "middle"};
    parts.push(svg("text", text, shortened(names[t], 16)));
    parts.push(svg("text", {class: "tick", transform: `translate(${margin + (t + 0.5) * cell},${margin - 6}) rotate(-60)`}, shortened(names[t], 16)));
    for (let p = 0; p < n; ++p) {
      const count = counts[t * n + p], share = total ? count / total : 0;
      const lines = [`truth ${names[t]}`, `predicted ${names[p]}: ${count} of ${total} (${percent(share)})`];
      parts.push(svg("rect", {x: margin + p * cell, y: margin + t * cell, width: cell - 1, height: cell - 1, fill: count ? css(viridis(Math.sqrt(share))) : "var(--sunken)",
        onpointermove: e => showTip(e.clientX, e.clientY, lines), onpointerleave: hideTip}));
      if (cell >= 26 && count) parts.push(svg("text", {x: margin + (p + 0.5) * cell, y: margin + (t + 0.5) * cell, class: "in", fill: Math.sqrt(share) > 0.55 ? "#111" : "#fff", "dominant-baseline": "central"}, String(count)));
    }
  }
  return h("div", {class: "scroll"}, svg("svg", {viewBox: `0 0 ${size + 40} ${size}`, width: size + 40, height: size, class: "confusion", role: "img", "aria-label": `Confusion matrix of ${n} classes`}, parts));
}
function qualityPanels() {
  const q = page.quality, list = [];
  if (q.metrics.length) list.push(panel("metrics", "Scores", q.split ? `on the ${q.split} rows` : null, metricCards(q)));
  if (q.classes.length) list.push(panel("classes", "Scores by class", null, h("div", {class: "scroll tall"}, classTable(q.classes))));
  if (q.confusion.length) list.push(panel("confusion", "Confusion matrix", "rows: truth · columns: prediction · colour: share of the row", confusionMatrix(q)));
  if (q.curves.length) list.push(panel("curves", "Training", "point at a curve to read it", curveCharts(q.curves)));
  if (q.calibration.length) list.push(panel("calibration", "Calibration", "on the diagonal, confidence means what it says", calibrationChart(q.calibration)));
  return list;
}
