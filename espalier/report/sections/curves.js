const data = read("curves");
for (const { columns } of data.runs) for (const [name, { first, by, size }] of Object.entries(columns))
  if (size) columns[name] = Float64Array.from({ length: size }, (_, row) => first + by * row);
const margin = { left: 56, right: 14, top: 8, bottom: 24 };
const height = 240;
const control = name => document.getElementById(name);

// The points of a value over an axis, from left to right: x, y, and half of the band around it. Kept, since drawing asks for them often.
const cache = new Map();
function pointsOf(index, axis, key) {
  const name = `${index} ${axis} ${key}`;
  if (cache.has(name)) return cache.get(name);
  const { columns, deviations } = data.runs[index], along = columns[axis], values = columns[key], rows = [];
  const band = Object.hasOwn(deviations, key) ? deviations[key] : null;
  for (let row = 0; row < values.length; row++) if (values[row] !== null && along[row] !== null) rows.push(row);
  if (rows.some((row, place) => place && along[row] < along[rows[place - 1]])) rows.sort((one, other) => along[one] - along[other]);
  const found = { x: Float64Array.from(rows, row => along[row]), y: Float64Array.from(rows, row => values[row]),
    band: band && Float64Array.from(rows, row => band[row] ?? 0) };
  cache.set(name, found);
  return found;
}

// A moving average that begins with the first value and does not lean towards zero.
function smoothed(values, weight) {
  if (!weight || !values) return values;
  let mean = 0, total = 0;
  return values.map(value => {
    mean = weight * mean + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return mean / total;
  });
}

// The place of the first value that is not below `limit`.
function place(values, limit) {
  let low = 0, high = values.length;
  while (low < high) { const middle = (low + high) >> 1; if (values[middle] < limit) low = middle + 1; else high = middle; }
  return low;
}

// The corners of a line through pixels: of many points in one column the lowest and the highest, in their order.
function corners(x, y) {
  const found = [], last = x.length - 1, rounded = value => Math.round(value * 10) / 10;
  for (let index = 0; index <= last;) {
    const column = Math.round(x[index]);
    let lowest = index, highest = index, next = index + 1;
    for (; next <= last && Math.round(x[next]) === column; next++) {
      if (y[next] < y[lowest]) lowest = next;
      if (y[next] > y[highest]) highest = next;
    }
    const first = Math.min(lowest, highest), second = Math.max(lowest, highest);
    found.push(`${rounded(x[first])} ${rounded(y[first])}`);
    if (second > first) found.push(`${rounded(x[second])} ${rounded(y[second])}`);
    index = next;
  }
  return found;
}

class Chart {
  constructor([name, hasBoth], number, parent) {
    Object.assign(this, { name, hasBoth, number, zoom: null, isSeen: false });
    this.figure = parent.appendChild(document.createElement("figure"));
    this.figure.appendChild(document.createElement("figcaption")).textContent = name;
    this.svg = this.figure.appendChild(element("svg", { height, role: "img", "aria-label": `curves of ${name}` }));
    this.tip = this.figure.appendChild(document.createElement("div"));
    this.tip.className = "tip";
    this.svg.onpointerdown = event => { this.from = this.at(event)[0]; this.svg.setPointerCapture(event.pointerId); };
    this.svg.onpointerup = event => this.select(this.from, this.at(event)[0]);
    this.svg.onpointercancel = () => { this.from = undefined; };
    this.svg.onpointermove = event => this.hover(...this.at(event));
    this.svg.onpointerleave = () => { this.tip.style.display = "none"; this.mark?.setAttribute("opacity", 0); };
    this.svg.ondblclick = () => this.show(null);
  }

  at(event) {
    const box = this.svg.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  show(zoom) {
    this.zoom = zoom;
    this.figure.classList.toggle("zoomed", zoom !== null);
    this.draw();
  }

  lines(isLog) {
    const axis = control("axis").value, weight = Number(control("smooth").value), found = [];
    data.runs.forEach((run, index) => {
      for (const key of hidden.has(index) ? [] : [`val_${this.name}`, this.name]) {
        if (!Object.hasOwn(run.columns, key)) continue;
        let { x, y, band } = pointsOf(index, axis, key);
        [y, band] = [smoothed(y, weight), smoothed(band, weight)];
        if (isLog && y.some(value => value <= 0)) {
          const kept = [...y.keys()].filter(row => y[row] > 0);
          [x, y, band] = [x, y, band].map(each => each && Float64Array.from(kept, row => each[row]));
        }
        if (x.length) found.push({ run, x, y, band, isTraining: this.hasBoth && key === this.name });
      }
    });
    return found;
  }

  draw() {
    this.isDue = !this.isSeen;
    if (this.isDue) return;
    const width = this.svg.clientWidth || 480, isLog = control("log").checked;
    this.drawn = this.lines(isLog);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.replaceChildren();
    this.mark = undefined;
    let [left, right] = this.zoom ?? [Infinity, -Infinity], low = Infinity, high = -Infinity;
    if (!this.zoom) for (const { x } of this.drawn) { left = Math.min(left, x[0]); right = Math.max(right, x[x.length - 1]); }
    for (const line of this.drawn) {
      line.from = place(line.x, left);
      line.to = place(line.x, right);
      while (line.to < line.x.length && line.x[line.to] === right) line.to++;
      for (let index = line.from; index < line.to; index++) {
        const value = line.y[index], half = line.band ? line.band[index] : 0;
        if (!isLog || value > half) low = Math.min(low, value - half);
        low = Math.min(low, value);
        high = Math.max(high, value + half);
      }
    }
    this.drawn = this.drawn.filter(line => line.x.length);
    if (low > high) { this.drawn = []; this.svg.append(element("text", { x: 60, y: 40 }, "nothing to show")); return; }
    const unit = Math.max(Math.abs(low), Math.abs(high)) || 1;  // else the range of huge values were infinite
    const scale = isLog ? Math.log : value => value / unit;
    const pad = (scale(high) - scale(low)) * 0.04 || Math.abs(scale(high)) * 0.1 || 1;
    const bottom = scale(low) - pad, top = scale(high) + pad, inner = width - margin.left - margin.right;
    this.x = value => margin.left + (right > left ? (value - left) / (right - left) : 0.5) * inner;
    this.back = at => left + Math.min(1, Math.max(0, (at - margin.left) / inner)) * (right - left);
    this.y = value => height - margin.bottom - ((isLog && value <= 0 ? bottom : scale(value)) - bottom) / (top - bottom) * (height - margin.top - margin.bottom);
    for (const value of ticks(low, high, isLog)) {
      const at = this.y(value);
      this.svg.append(element("line", { x1: margin.left, x2: width - margin.right, y1: at, y2: at, stroke: "#8884" }));
      this.svg.append(element("text", { x: margin.left - 6, y: at + 4, "text-anchor": "end" }, short(value)));
    }
    for (const value of right > left ? ticks(left, right, false) : [left])
      this.svg.append(element("text", { x: this.x(value), y: height - 6, "text-anchor": "middle" }, short(value)));
    const clip = `clip-${this.number}`, box = element("clipPath", { id: clip });
    box.append(element("rect", { x: margin.left - 3, y: 0, width: inner + 6, height }));
    this.svg.append(box);
    this.inside = this.svg.appendChild(element("g", { "clip-path": `url(#${clip})` }));
    for (const line of this.drawn) this.append(line);
    this.mark = this.svg.appendChild(element("line", { y1: margin.top, y2: height - margin.bottom, stroke: "currentColor", opacity: 0 }));
  }

  // A line with its band; one point more on either side, so that it goes on to the edge.
  append({ run, x, y, band, from, to, isTraining }) {
    [from, to] = [Math.max(0, from - 1), Math.min(x.length, to + 1)];
    const shape = { fill: run.colour, "data-run": run.label }, across = x.slice(from, to).map(this.x);
    if (band) {
      const [upper, lower] = [1, -1].map(sign => corners(across, y.slice(from, to).map((value, row) => this.y(value + sign * band[from + row]))));
      this.inside.append(element("path", { ...shape, d: `M${[...upper, ...lower.reverse()].join("L")}Z`, opacity: isTraining ? 0.08 : 0.18, class: "band" }));
    }
    const path = corners(across, y.slice(from, to).map(this.y));
    if (path.length === 1) {
      const [cx, cy] = path[0].split(" ");
      this.inside.append(element("circle", { ...shape, cx, cy, r: isTraining ? 2 : 3.5, opacity: isTraining ? 0.6 : 1 }));
    } else
      this.inside.append(element("path", { d: `M${path.join("L")}`, fill: "none", stroke: run.colour, "stroke-width": 1.5,
        "stroke-dasharray": isTraining ? "4 3" : "none", "data-run": run.label, class: "line" }));
  }

  select(from, to) {
    this.from = undefined;
    if (from === undefined || Math.abs(to - from) < 8 || !this.drawn?.length) return;
    const zoom = [from, to].map(this.back).sort((one, other) => one - other);
    if (zoom[1] > zoom[0]) this.show(zoom);
  }

  // The values at the point next to the pointer; of many lines those that are next to it.
  hover(across, down) {
    if (!this.drawn?.length) return;
    const at = this.back(across);
    const rows = this.drawn.map(line => {
      let index = place(line.x, at);
      if (index === line.x.length || (index && at - line.x[index - 1] < line.x[index] - at)) index--;
      return { line, index, x: line.x[index], y: line.y[index] };
    });
    const { x } = rows.reduce((one, other) => Math.abs(other.x - at) < Math.abs(one.x - at) ? other : one);
    const near = rows.filter(row => Math.abs(this.x(row.x) - this.x(x)) < 40);
    const shown = near.length <= 12 ? near : near.sort((one, other) => Math.abs(this.y(one.y) - down) - Math.abs(this.y(other.y) - down)).slice(0, 12);
    for (const key of ["x1", "x2"]) this.mark.setAttribute(key, this.x(x));
    this.mark.setAttribute("opacity", 0.4);
    this.tip.replaceChildren(`${control("axis").value} ${Number(x.toPrecision(7))}`);
    for (const { line, index, y } of shown) {
      const row = this.tip.appendChild(document.createElement("div")), dot = document.createElement("span");
      dot.className = "swatch";
      dot.style.background = line.run.colour;
      row.append(dot, `${short(y)}${line.band ? ` ± ${short(line.band[index])}` : ""} ${line.isTraining ? "train " : ""}${line.run.label}`);
    }
    if (shown.length < near.length) this.tip.append(`and ${near.length - shown.length} more`);
    this.tip.style.display = "block";
    this.tip.style.left = "0";  // as wide as it can be, before its width is asked for
    const room = this.svg.clientWidth - this.tip.offsetWidth;
    this.tip.style.left = `${Math.max(0, across + 14 < room ? across + 14 : Math.min(room, across - this.tip.offsetWidth - 14))}px`;
  }
}

const charts = data.charts.map((chart, number) => new Chart(chart, number, control("charts")));
const draw = () => charts.forEach(chart => chart.draw());
// Only what is on the screen is drawn.
const watcher = new IntersectionObserver(entries => {
  for (const entry of entries) {
    const chart = charts.find(each => each.figure === entry.target);
    chart.isSeen = entry.isIntersecting;
    if (chart.isSeen && chart.isDue !== false) chart.draw();
  }
}, { rootMargin: "200px" });
charts.forEach(chart => watcher.observe(chart.figure));
addEventListener("beforeprint", () => { charts.forEach(chart => { chart.isSeen = true; }); draw(); });
let waiting = false;  // one drawing for each picture of the screen, however often it is asked for
const later = () => {
  if (!waiting) requestAnimationFrame(() => { waiting = false; draw(); });
  waiting = true;
};
for (const id of ["axis", "smooth", "log"]) control(id).oninput = () => {
  if (id === "axis") charts.forEach(chart => chart.show(null));
  later();
};
new ResizeObserver(later).observe(control("charts"));
document.addEventListener("runs", later);
