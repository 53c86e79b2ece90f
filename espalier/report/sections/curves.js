const data = read("curves");
const margin = { left: 56, right: 10, top: 8, bottom: 24 };
const height = 240;

// A moving average that begins with the first value and does not lean towards zero.
function smoothed(values, weight) {
  let mean = 0, total = 0;
  return values.map(value => {
    if (value === null) return null;
    mean = weight * mean + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return mean / total;
  });
}

// The points of a line; of many in one pixel the lowest and the highest.
function thinned(points, width) {
  if (points.length <= 4 * width) return points;
  const columns = new Map();
  for (const point of points) {
    const key = Math.round(point[0]), column = columns.get(key);
    if (!column) columns.set(key, [point, point]);
    else if (point[1] < column[0][1]) column[0] = point;
    else if (point[1] > column[1][1]) column[1] = point;
  }
  return [...columns.values()].flatMap(pair => pair[0] === pair[1] ? [pair[0]] : pair);
}

class Chart {
  constructor(name, parent) {
    this.name = name;
    this.zoom = null;
    this.figure = parent.appendChild(document.createElement("figure"));
    this.figure.appendChild(document.createElement("figcaption")).textContent = name;
    this.svg = this.figure.appendChild(element("svg", { height, role: "img", "aria-label": `curves of ${name}` }));
    this.tip = this.figure.appendChild(document.createElement("div"));
    this.tip.className = "tip";
    this.svg.onpointerdown = event => { this.from = this.place(event); this.svg.setPointerCapture(event.pointerId); };
    this.svg.onpointerup = event => this.select(this.from, this.place(event));
    this.svg.onpointermove = event => this.hover(this.place(event));
    this.svg.onpointerleave = () => { this.tip.style.display = "none"; };
    this.svg.ondblclick = () => { this.zoom = null; this.draw(); };
  }

  place(event) { return event.clientX - this.svg.getBoundingClientRect().left; }

  // Lines of this chart: run, whether of training, and points [x, y] that can be shown.
  lines() {
    const axis = document.getElementById("axis").value, weight = Number(document.getElementById("smooth").value);
    const isLog = document.getElementById("log").checked, found = [];
    data.runs.forEach((run, index) => {
      for (const key of hidden.has(index) ? [] : [`val_${this.name}`, this.name]) {
        if (!run.columns[key]) continue;
        const values = smoothed(run.columns[key], weight);
        const points = values.map((y, row) => [run.columns[axis][row], y])
          .filter(([x, y]) => y !== null && x !== null && (!isLog || y > 0));
        if (points.length) found.push({ run, key, isTraining: key === this.name && key in data.both, points });
      }
    });
    return found;
  }

  draw() {
    const width = this.svg.clientWidth || 480, isLog = document.getElementById("log").checked;
    this.drawn = this.lines();
    const all = this.drawn.flatMap(line => line.points).filter(([x]) => !this.zoom || (x >= this.zoom[0] && x <= this.zoom[1]));
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.replaceChildren();
    if (!all.length) { this.svg.append(element("text", { x: 60, y: 40 }, "nothing to show")); return; }
    const extent = (index) => all.reduce(([low, high], p) => [Math.min(low, p[index]), Math.max(high, p[index])], [Infinity, -Infinity]);
    const [left, right] = this.zoom || extent(0), [low, high] = extent(1), scale = isLog ? Math.log : value => value;
    const pad = (scale(high) - scale(low)) * 0.04 || Math.abs(scale(high)) * 0.1 || 1;
    const bottom = scale(low) - pad, top = scale(high) + pad;
    this.x = value => margin.left + (value - left) / (right - left || 1) * (width - margin.left - margin.right);
    this.back = place => left + (place - margin.left) / (width - margin.left - margin.right) * (right - left);
    const y = value => height - margin.bottom - (scale(value) - bottom) / (top - bottom) * (height - margin.top - margin.bottom);
    for (const value of ticks(low, high, isLog)) {
      this.svg.append(element("line", { x1: margin.left, x2: width - margin.right, y1: y(value), y2: y(value), stroke: "#8884" }));
      this.svg.append(element("text", { x: margin.left - 6, y: y(value) + 4, "text-anchor": "end" }, short(value)));
    }
    for (const value of ticks(left, right, false))
      this.svg.append(element("text", { x: this.x(value), y: height - 6, "text-anchor": "middle" }, short(value)));
    const clip = `clip-${this.name.replace(/\W/g, "_")}`, box = element("clipPath", { id: clip });
    box.append(element("rect", { x: margin.left, y: 0, width: width - margin.left - margin.right, height }));
    this.svg.append(box);
    for (const line of this.drawn) {
      const path = thinned(line.points.map(([x, value]) => [this.x(x), y(value)]), width).map(p => `${p[0].toFixed(1)} ${p[1].toFixed(1)}`);
      this.svg.append(path.length > 1
        ? element("path", { d: `M${path.join("L")}`, fill: "none", stroke: line.run.colour, "stroke-width": 1.5,
          "stroke-dasharray": line.isTraining ? "4 3" : "none", "clip-path": `url(#${clip})` })
        : element("circle", { cx: path[0].split(" ")[0], cy: path[0].split(" ")[1], r: 3, fill: line.run.colour }));
    }
    this.mark = this.svg.appendChild(element("line", { y1: margin.top, y2: height - margin.bottom, stroke: "currentColor", opacity: 0 }));
  }

  select(from, to) {
    if (from === undefined || Math.abs(to - from) < 8 || !this.back) return;
    this.zoom = [from, to].map(this.back).sort((one, other) => one - other);
    this.from = undefined;
    this.draw();
  }

  hover(place) {
    if (!this.drawn || !this.drawn.length) return;
    const at = this.back(place), rows = [];
    for (const line of this.drawn) {
      const nearest = line.points.reduce((one, other) => Math.abs(other[0] - at) < Math.abs(one[0] - at) ? other : one);
      rows.push({ line, nearest });
    }
    const x = rows.reduce((one, other) => Math.abs(other.nearest[0] - at) < Math.abs(one.nearest[0] - at) ? other : one).nearest[0];
    for (const key of ["x1", "x2"]) this.mark.setAttribute(key, this.x(x));
    this.mark.setAttribute("opacity", 0.4);
    this.tip.replaceChildren(`${document.getElementById("axis").value} ${short(x)}`);
    for (const { line, nearest } of rows.slice(0, 12)) {
      const row = this.tip.appendChild(document.createElement("div")), dot = document.createElement("span");
      dot.className = "swatch";
      dot.style.background = line.run.colour;
      row.append(dot, `${line.isTraining ? "train " : ""}${line.run.label}: ${short(nearest[1])}`);
    }
    this.tip.style.display = "block";
    this.tip.style.top = "2rem";
    this.tip.style.left = `${Math.min(place + 12, this.svg.clientWidth - this.tip.offsetWidth)}px`;
  }
}

const charts = data.charts.map(name => new Chart(name, document.getElementById("charts")));
const draw = () => charts.forEach(chart => chart.draw());
for (const id of ["axis", "smooth", "log"]) document.getElementById(id).oninput = () => { charts.forEach(chart => { if (id === "axis") chart.zoom = null; }); draw(); };
new ResizeObserver(draw).observe(document.getElementById("charts"));
document.addEventListener("runs", draw);
