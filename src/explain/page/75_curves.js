// Line charts of the training and the reliability diagram.
function ticks(low, high, count) {
  const raw = (high - low) / count || 1, tens = Math.pow(10, Math.floor(Math.log10(raw)));
  const step = [1, 2, 5, 10].map(m => m * tens).find(s => s >= raw), list = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-9; t += step) list.push(Math.abs(t) < step * 1e-9 ? 0 : t);
  return list;
}
const tickText = x => Math.abs(x) >= 1000 ? +(x / 1000).toPrecision(3) + "k" : String(+x.toPrecision(3));
function frame(width, height, xs, ys, x, y, xTitle) {
  return [ys.map(t => [svg("line", {x1: 44, x2: width - 12, y1: y(t), y2: y(t), class: "gridline"}), svg("text", {x: 38, y: y(t), class: "tick end", "dominant-baseline": "middle"}, tickText(t))]),
    xs.map(t => svg("text", {x: x(t), y: height - 18, class: "tick mid"}, tickText(t))), svg("text", {x: width / 2 + 16, y: height - 3, class: "tick mid"}, xTitle)];
}
const kLines = ["l0", "l1", "l2", "l3"];
function curveCharts(curves) {
  const names = [...new Set(curves.map(c => c.name))];
  return h("div", {class: "charts"}, names.map(name => lineChart(name, curves.filter(c => c.name === name))));
}
function lineChart(name, lines) {
  const width = 420, height = 220, values = lines.flatMap(l => l.value.filter(v => v !== null)), steps = lines.flatMap(l => l.step);
  const least = Math.min(...values), most = Math.max(...values), pad = (most - least || Math.abs(most) || 1) * 0.06;
  const low = least - pad, high = most + pad, first = Math.min(...steps), last = Math.max(...steps);
  const x = s => 44 + (s - first) / (last - first || 1) * (width - 56), y = v => 10 + (high - v) / (high - low) * (height - 48);
  const path = l => { let d = "", pen = false; l.step.forEach((s, i) => { const v = l.value[i]; if (v === null) { pen = false; return; } d += `${pen ? "L" : "M"}${x(s).toFixed(1)} ${y(v).toFixed(1)}`; pen = true; }); return d; };
  const nearest = event => {
    const box = event.currentTarget.getBoundingClientRect(), s = first + ((event.clientX - box.left) / box.width * width - 44) / (width - 56) * (last - first);
    const read = lines.map(l => { let best = 0; l.step.forEach((t, i) => { if (Math.abs(t - s) < Math.abs(l.step[best] - s)) best = i; }); return `${l.split} ${number(l.value[best])} at step ${number(l.step[best])}`; });
    showTip(event.clientX, event.clientY, [name, ...read]);
  };
  return h("figure", {}, h("figcaption", {}, h("b", {text: name}), lines.map((l, i) => h("span", {class: "line-key " + kLines[i % 4]}, h("i", {}), l.split))),
    svg("svg", {viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": `${name} by step: ${lines.map(l => `${l.split} ends at ${number(l.value[l.value.length - 1])}`).join(", ")}`, onpointermove: nearest, onpointerleave: hideTip},
      frame(width, height, ticks(first, last, 5), ticks(low, high, 5), x, y, "step"), lines.map((l, i) => svg("path", {d: path(l), class: "line " + kLines[i % 4]})),
      lines.filter(l => l.step.length === 1).map((l, i) => svg("circle", {cx: x(l.step[0]), cy: y(l.value[0]), r: 3, class: "dot " + kLines[i % 4]}))));
}
function calibrationChart(bins) {
  const width = 420, height = 300, x = p => 44 + p * (width - 56), y = p => 10 + (1 - p) * (height - 48), used = bins.filter(b => b.count > 0);
  const total = used.reduce((s, b) => s + b.count, 0), most = Math.max(...used.map(b => b.count));
  const gap = used.reduce((s, b) => s + b.count * Math.abs(b.accuracy - b.confidence), 0) / (total || 1), fifths = [0, 0.2, 0.4, 0.6, 0.8, 1];
  return h("figure", {class: "calibration"}, svg("svg", {viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": `Reliability diagram, expected calibration error ${percent(gap)}`},
    frame(width, height, fifths, fifths, x, y, "confidence"), svg("line", {x1: x(0), y1: y(0), x2: x(1), y2: y(1), class: "diagonal"}),
    used.map(b => svg("line", {x1: x(b.confidence), x2: x(b.confidence), y1: y(b.confidence), y2: y(b.accuracy), class: "gap"})),
    svg("path", {d: used.map((b, i) => `${i ? "L" : "M"}${x(b.confidence).toFixed(1)} ${y(b.accuracy).toFixed(1)}`).join(""), class: "line l0"}),
    used.map(b => svg("circle", {cx: x(b.confidence), cy: y(b.accuracy), r: 3 + 7 * Math.sqrt(b.count / most), class: "dot l0",
      onpointermove: e => showTip(e.clientX, e.clientY, [`${b.count} predictions`, `confidence ${percent(b.confidence)}`, `right ${percent(b.accuracy)}`]), onpointerleave: hideTip}))),
    h("figcaption", {class: "note", text: `expected calibration error ${percent(gap)} over ${number(total)} predictions; a circle's area is its number of predictions`}));
}
