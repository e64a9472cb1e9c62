// The page's data: the JSON block, and its packed arrays (docs/formats/page.md).
const problems = [];
window.addEventListener("error", e => report(e.message));
window.addEventListener("unhandledrejection", e => report(String(e.reason)));
document.addEventListener("securitypolicyviolation", e => report("blocked " + e.blockedURI));
function report(problem) {
  problems.push(problem);
  document.documentElement.dataset.problems = problems.join(" | ");
}

const page = JSON.parse(document.getElementById("page-data").textContent);

function bytesOf(text) {
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; ++i) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
function floatsOf(text) {
  const bytes = bytesOf(text);
  return new Float32Array(bytes.buffer, 0, bytes.length / 4);
}
async function inflate(text) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
// Value of every code: (code / maximum) ^ power.
const codeValues = (power, maximum) => Float32Array.from({length: 256}, (_, c) => Math.pow(c / maximum, power));

// Attention of one example. Head -1 stands for the mean over the layer's heads.
class Attention {
  static async load(data, tokens) {
    const a = new Attention();
    Object.assign(a, {layers: data.layers, heads: data.heads, members: data.members, causal: data.causal, topK: data.topK,
      tiles: data.tiles, power: data.power, maximum: data.maximum, tokens});
    a.values = codeValues(data.power, data.maximum);
    a.overviewValues = codeValues(data.overviewPower, data.overviewMaximum);
    a.maps = await Promise.all(data.maps.map(m => a.unpack(m)));
    return a;
  }

  async unpack(m) {
    const [bytes, overview] = await Promise.all([inflate(m.rows), inflate(m.overview)]);
    const map = {...m, overview, rowEntropy: bytesOf(m.rowEntropy), keyMass: bytesOf(m.keyMass), codes: bytes};
    if (this.topK) {  // planes: counts, key distances low and high, codes
      const n = this.tokens, starts = new Uint32Array(n + 1);
      for (let q = 0; q < n; ++q) starts[q + 1] = starts[q] + (bytes[2 * q] | bytes[2 * q + 1] << 8);
      const total = starts[n], keys = new Uint16Array(total);
      for (let q = 0; q < n; ++q) {
        for (let i = starts[q], before = 0; i < starts[q + 1]; ++i) {
          keys[i] = before += bytes[2 * n + i] | bytes[2 * n + total + i] << 8;
        }
      }
      Object.assign(map, {starts, keys, codes: bytes.subarray(2 * n + 2 * total)});
    }
    return map;
  }

  map(layer, head) { return this.maps[layer * this.heads + head]; }
  headsOf(head) { return head < 0 ? [...Array(this.heads).keys()] : [head]; }

  // Adds scale × the weights of one query to out[N].
  addRow(layer, head, query, scale, out) {
    const m = this.map(layer, head), values = this.values, codes = m.codes;
    if (this.topK) {
      for (let i = m.starts[query]; i < m.starts[query + 1]; ++i) out[m.keys[i]] += scale * values[codes[i]];
      return;
    }
    const start = this.causal ? query * (query + 1) / 2 : query * this.tokens;
    const visible = this.causal ? query + 1 : this.tokens;
    for (let k = 0; k < visible; ++k) out[k] += scale * values[codes[start + k]];
  }
  row(layer, head, query) {
    const out = new Float32Array(this.tokens), heads = this.headsOf(head);
    for (const h of heads) this.addRow(layer, h, query, 1 / heads.length, out);
    return out;
  }
  weight(layer, head, query, key) {
    if (this.causal && key > query) return 0;
    const heads = this.headsOf(head);
    let sum = 0;
    for (const h of heads) {
      const m = this.map(layer, h);
      if (this.topK) {
        let low = m.starts[query], high = m.starts[query + 1];
        while (low < high) { const mid = low + high >> 1; if (m.keys[mid] < key) low = mid + 1; else high = mid; }
        if (low < m.starts[query + 1] && m.keys[low] === key) sum += this.values[m.codes[low]];
      } else {
        sum += this.values[m.codes[this.causal ? query * (query + 1) / 2 + key : query * this.tokens + key]];
      }
    }
    return sum / heads.length;
  }
  // The weights that all queries put on one key.
  column(layer, head, key) {
    const out = new Float32Array(this.tokens);
    for (let q = 0; q < this.tokens; ++q) out[q] = this.weight(layer, head, q, key);
    return out;
  }
  // Mean weight on each key, from the exact weights.
  mass(layer, head) {
    const out = new Float32Array(this.tokens), heads = this.headsOf(head);
    for (const h of heads) {
      const m = this.map(layer, h);
      for (let k = 0; k < out.length; ++k) out[k] += this.overviewValues[m.keyMass[k]] / heads.length;
    }
    return out;
  }
  // Largest error of a stored weight, from the width of its code's step.
  error(weight) {
    const root = Math.pow(weight, 1 / this.power);
    return Math.pow(root + 0.5 / this.maximum, this.power) - weight;
  }
  // Figures of a head; for the mean over heads, the mean of the figures.
  figures(layer, head) {
    const heads = this.headsOf(head), mean = name => heads.reduce((s, h) => s + this.map(layer, h)[name], 0) / heads.length;
    const figures = {};
    for (const name of ["entropy", "first", "self", "distance", "strongest"]) figures[name] = mean(name);
    const mass = head < 0 ? this.mass(layer, head) : null;
    figures.topKeys = mass ? [...mass.keys()].sort((a, b) => mass[b] - mass[a]).slice(0, 5) : this.map(layer, head).topKeys;
    return figures;
  }
}
