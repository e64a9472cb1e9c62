// The map of the chosen head. Zoomed out, a pixel shows the largest weight among the cells it covers; zoomed in, every
// cell is a stored weight. Rows are queries (the tokens that read), columns keys (the tokens that are read).
const kMargin = 76, kMinimumCells = 4, kWordedCell = 11;
let matrixImage = null;  // what the canvas shows: {view, pooled, largest}

const matrixView = () => state.view || [0, tokenCount(), 0, tokenCount()];

function drawMatrix() {
  const canvas = $("#matrix");
  if (!attention || !canvas) return;
  const [q0, q1, k0, k1] = matrixView(), ratio = Math.min(3, devicePixelRatio || 1);
  canvas.style.maxWidth = Math.max(320, kMargin + 44 * Math.max(q1 - q0, k1 - k0)) + "px";  // a short text needs no large map
  const size = canvas.clientWidth || 480, worded = (size - kMargin) / Math.max(q1 - q0, k1 - k0) >= kWordedCell;
  const margin = worded ? (size < 420 ? 56 : kMargin) : 32, plot = size - margin;
  canvas.width = canvas.height = Math.round(size * ratio);
  // A finger scrolls the page past the whole map, and moves a map that is zoomed.
  canvas.style.touchAction = state.view ? "none" : "pan-y";
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const across = k1 - k0, down = q1 - q0, pixels = Math.round(plot * ratio);
  const columns = Math.min(across, pixels), rows = Math.min(down, pixels);
  const values = new Float32Array(columns * rows), seen = new Uint8Array(columns * rows);
  let largest = 0, smallest = 1;
  for (let q = q0; q < q1; ++q) {
    const row = attention.row(state.layer, state.head, q), base = Math.floor((q - q0) * rows / down) * columns;
    const end = attention.causal ? Math.min(k1, q + 1) : k1;
    for (let k = k0; k < end; ++k) {
      const i = base + Math.floor((k - k0) * columns / across);
      if (state.hideFirst && k === 0) continue;
      seen[i] = 1;
      if (row[k] > values[i]) values[i] = row[k];
      if (row[k] > largest) largest = row[k];
      if (row[k] < smallest) smallest = row[k];
    }
  }
  const image = new ImageData(columns, rows);
  for (let i = 0; i < values.length; ++i) {
    if (!seen[i]) continue;
    const c = viridis(scaled(values[i], state.log, largest, smallest));
    image.data[4 * i] = c[0]; image.data[4 * i + 1] = c[1]; image.data[4 * i + 2] = c[2]; image.data[4 * i + 3] = 255;
  }
  const cells = h("canvas", {width: columns, height: rows});
  cells.getContext("2d").putImageData(image, 0, 0);
  context.fillStyle = styleOf("--sunken");
  context.fillRect(margin, margin, plot, plot);
  context.imageSmoothingEnabled = false;
  context.drawImage(cells, margin, margin, plot, plot);
  matrixImage = {view: [q0, q1, k0, k1], pooled: across > pixels || down > pixels, largest, smallest, cells, margin, plot, worded};
  drawAxes(context, margin, plot);
  drawCross(context, margin, plot);
  drawMatrixNotes();
}
function drawAxes(context, margin, plot) {
  const {view: [q0, q1, k0, k1], worded} = matrixImage, texts = shownTexts();
  context.fillStyle = styleOf("--muted");
  context.font = "11px " + styleOf("--sans");
  const room = Math.floor(margin / 6.4), chosen = new Set(shownTokens());
  const label = (first, count, cell, place) => {
    const step = worded ? 1 : niceStep(26 / cell);
    for (let t = Math.ceil(first / step) * step; t < first + count; t += step) {
      context.save();
      if (worded && chosen.has(t)) context.fillStyle = styleOf("--text");
      place((t - first + 0.5) * cell, worded ? shortened(visible(texts[t].trim() || texts[t]), room) : String(t));
      context.restore();
    }
  };
  context.textBaseline = "middle";
  label(q0, q1 - q0, plot / (q1 - q0), (y, text) => { context.textAlign = "right"; context.fillText(text, margin - 5, margin + y); });
  label(k0, k1 - k0, plot / (k1 - k0), (x, text) => {
    context.translate(margin + x, margin - 5); context.rotate(-Math.PI / 2); context.textAlign = "left"; context.fillText(text, 0, 0);
  });
}
function niceStep(atLeast) {
  const tens = Math.pow(10, Math.floor(Math.log10(Math.max(1, atLeast))));
  return [1, 2, 5, 10].map(m => m * tens).find(s => s >= atLeast) || 10 * tens;
}
// The chosen tokens: a frame around their row, and one around their column.
function drawCross(context, margin, plot) {
  const [q0, q1, k0, k1] = matrixImage.view, tokens = shownTokens();
  context.save();
  context.beginPath(); context.rect(margin - 1, margin - 1, plot + 2, plot + 2); context.clip();
  context.lineWidth = 1.5;
  for (const t of tokens) {
    const y = margin + (t - q0) * plot / (q1 - q0), x = margin + (t - k0) * plot / (k1 - k0);
    context.strokeStyle = styleOf("--for"); context.strokeRect(margin, y, plot, Math.max(1.5, plot / (q1 - q0)));
    context.strokeStyle = styleOf("--to"); context.strokeRect(x, margin, Math.max(1.5, plot / (k1 - k0)), plot);
  }
  context.restore();
}
function drawMatrixNotes() {
  const {view, pooled, largest, smallest} = matrixImage, n = tokenCount(), at = 0.1;
  const whole = view[0] === 0 && view[1] === n && view[2] === 0 && view[3] === n;
  const precision = `a weight of 10 % is told to ± ${percent(attention.error(at))}`;
  const kind = attention.topK ? `top ${attention.topK} keys of each row` : pooled ? "largest weight under each pixel" : "every weight";
  $("#matrix-kind").textContent = `${headName(state.layer, state.head)} · ${whole ? `all ${n} × ${n}` : `queries ${view[0]}–${view[1] - 1}, keys ${view[2]}–${view[3] - 1}`} · ${kind} · ${precision}`;
  const bar = $("#scale");
  bar.style.background = `linear-gradient(90deg, ${kViridis.map(css).join(",")})`;
  $("#scale-low").textContent = state.log ? percent(leastShown(smallest, largest)).replace(/^(?!<)/, "≤ ") : "0 %";
  $("#scale-high").textContent = percent(largest);
  $("#matrix").setAttribute("aria-label", `Attention weights of ${headName(state.layer, state.head)}, ${n} by ${n}. Largest ${percent(largest)}.`);
}
function cellAt(event) {
  if (!matrixImage) return null;
  const box = $("#matrix").getBoundingClientRect(), {view, margin, plot} = matrixImage;
  const x = (event.clientX - box.left - margin) / plot, y = (event.clientY - box.top - margin) / plot;
  if (x < 0 || y < 0 || x >= 1 || y >= 1) return null;
  return {query: Math.floor(view[0] + y * (view[1] - view[0])), key: Math.floor(view[2] + x * (view[3] - view[2])), x, y};
}
function cellLines(query, key) {
  const w = attention.weight(state.layer, state.head, query, key);
  const lines = [`${quoted(shownText(query))} → ${quoted(shownText(key))}`, `token ${query} attends to token ${key}`];
  if (attention.causal && key > query) lines.push("not visible: it comes later");
  else if (attention.topK && w === 0) {
    let covered = 0;
    for (const x of attention.row(state.layer, state.head, query)) covered += x;
    lines.push(`not among the ${attention.topK} strongest; ${percent(Math.max(0, 1 - covered))} of the row is not shown`);
  } else lines.push(`${percent(w)} ± ${percent(attention.error(w))}`);
  return lines;
}
function zoomMatrix(factor, x = 0.5, y = 0.5) {
  const n = tokenCount(), least = Math.min(n, kMinimumCells);
  const scale = (low, high, at) => {
    const size = clamp(Math.round((high - low) * factor), least, n);
    if (size === high - low && factor !== 1) return [low, high];
    const start = clamp(Math.round(low + at * (high - low) - at * size), 0, n - size);
    return [start, start + size];
  };
  const [q0, q1, k0, k1] = matrixView();
  const view = [...scale(q0, q1, y), ...scale(k0, k1, x)];
  update({view: view[1] - view[0] === n && view[3] - view[2] === n ? null : view});
}
function panMatrix(queries, keys) {
  const n = tokenCount(), [q0, q1, k0, k1] = matrixView();
  const q = clamp(q0 + queries, 0, n - (q1 - q0)), k = clamp(k0 + keys, 0, n - (k1 - k0));
  if (state.view) update({view: [q, q + q1 - q0, k, k + k1 - k0]});
}
function matrixPanel() {
  const pointers = new Map();
  let drag = null, spread = 0;
  const canvas = h("canvas", {id: "matrix", role: "img", tabindex: "0",
    onwheel: e => { const c = cellAt(e); if (c && (e.ctrlKey || e.shiftKey || document.activeElement === e.target)) { e.preventDefault(); zoomMatrix(e.deltaY > 0 ? 1.25 : 0.8, c.x, c.y); } },
    onpointerdown: e => {
      pointers.set(e.pointerId, e);
      drag = {x: e.clientX, y: e.clientY, view: matrixView(), moved: false};
      if (e.isTrusted) e.target.setPointerCapture(e.pointerId);
    },
    onpointermove: e => {
      if (pointers.has(e.pointerId)) pointers.set(e.pointerId, e);
      if (pointers.size === 2) {  // pinch
        const [a, b] = [...pointers.values()], distance = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
        if (spread && Math.abs(distance / spread - 1) > 0.05) { zoomMatrix(spread / distance); spread = distance; }
        spread = spread || distance; drag.moved = true;
      } else if (drag && pointers.size === 1 && state.view) {
        const {view, plot} = matrixImage, n = tokenCount(), down = drag.view[1] - drag.view[0], across = drag.view[3] - drag.view[2];
        const dq = Math.round((drag.y - e.clientY) / plot * down), dk = Math.round((drag.x - e.clientX) / plot * across);
        if (dq || dk) drag.moved = true;
        const q = clamp(drag.view[0] + dq, 0, n - down), k = clamp(drag.view[2] + dk, 0, n - across);
        if (q !== view[0] || k !== view[2]) update({view: [q, q + down, k, k + across]});
      }
      const c = cellAt(e);
      if (!c) { hideTip(); return; }
      showTip(e.clientX, e.clientY, cellLines(c.query, c.key));
      update({hover: c.query});
    },
    onpointerup: e => {
      pointers.delete(e.pointerId); spread = 0;
      const c = cellAt(e);
      if (drag && !drag.moved && c) chooseToken(c.query, e.shiftKey);
      drag = null;
    },
    onpointercancel: e => { pointers.delete(e.pointerId); drag = null; spread = 0; },
    onpointerleave: () => { hideTip(); update({hover: -1}); },
    ondblclick: e => { const c = cellAt(e); if (c) zoomMatrix(0.5, c.x, c.y); }});
  return panel("map", "Attention map", "rows read, columns are read · click, then scroll to zoom",
    h("div", {class: "bar"},
      toggle("Log scale", "Logarithmic colours (G)", state.log, () => update({log: !state.log}), "log"),
      toggle("Hide first token", "Leave out the first token, where heads park weight they do not need (F)", state.hideFirst, () => update({hideFirst: !state.hideFirst}), "hide-first"),
      h("span", {class: "group", role: "group", "aria-label": "Zoom"},
        h("button", {type: "button", title: "Zoom in (+)", "aria-label": "Zoom in", text: "+", onclick: () => zoomMatrix(0.5)}),
        h("button", {type: "button", title: "Zoom out (−)", "aria-label": "Zoom out", text: "−", onclick: () => zoomMatrix(2)}),
        h("button", {type: "button", title: "Whole map (0)", "aria-label": "Whole map", text: "0", onclick: () => update({view: null})}))),
    canvas,
    h("div", {class: "scale"}, h("span", {id: "scale-low"}), h("i", {id: "scale"}), h("span", {id: "scale-high"})),
    h("p", {id: "matrix-kind", class: "note"}));
}
