// The charts of a study. `kept` has the numbers of the trials that are within all brushes; null where there is none.
const study = read("study");
const edge = { left: 60, right: 14, top: 10, bottom: 26 }, tall = 240;
const colours = { finished: "#0072b2", pruned: "#a60", running: "#06c", stopped: "#06c", waiting: "#06c", failed: "#c00" };
const [onTop] = study.objectives, isLogAsked = () => document.getElementById("log-objectives").checked;
let kept = null;
const isKept = trial => kept === null || kept.has(trial.number);
const figures = [];

// What is said of a trial beside the pointer.
function told(trial) {
  const values = study.objectives.map((each, index) => [each.name, trial.values[index]]);
  const params = study.axes.map((axis, index) => [axis.name, trial.params[index], axis]);
  const lines = [...values, ...params].filter(([, value]) => value !== null)
    .map(([name, value, axis]) => `${name} ${axis && axis.categories ? axis.categories[value] : short(value)}`);
  return [`trial ${trial.number}, ${trial.state}`, ...lines];
}

// From values to pixels: of numbers, linear or by their logarithm, or of categories.
function scale(ends, isLog, categories, from, to) {
  if (categories) {
    const step = (to - from) / categories.length;
    return { place: value => from + step * (value + 0.5), marks: categories.map((text, index) => [index, text]) };
  }
  const by = isLog ? Math.log : value => value;
  let [low, high] = ends.map(by);
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  return {
    place: value => from + (by(value) - low) / (high - low) * (to - from),
    marks: ticks(...ends, isLog).map(value => [value, short(value)]),
  };
}

// The ends of values, with some room; null where there is none.
function endsOf(values, isLog) {
  if (!values.length) return null;
  const [low, high] = [Math.min(...values), Math.max(...values)], room = isLog ? (high / low) ** 0.04 : (high - low) * 0.04;
  return isLog ? [low / room, high * room] : [low - room, high + room];
}

const isLogged = index => isLogAsked() && study.trials.every(trial => trial.values[index] === null || trial.values[index] > 0);

// One mark for a trial, by how it ended.
function mark(trial, x, y) {
  const colour = trial.isBest ? "#d55e00" : colours[trial.state], line = { stroke: colour, "stroke-width": 1.5, fill: "none" };
  if (trial.state === "failed") return element("path", { d: `M${x - 4} ${y - 4}l8 8m0 -8l-8 8`, ...line });
  if (["running", "stopped", "waiting"].includes(trial.state))
    return element("path", { d: `M${x} ${y - 5}l5 5l-5 5l-5 -5z`, ...line });
  return element("circle", { cx: x, cy: y, r: trial.isBest ? 5 : 3.5, ...line, ...(trial.state === "finished" ? { fill: colour, "fill-opacity": 0.75 } : {}) });
}

// Points of trials in a frame, with what is near the pointer told.
class Scatter {
  constructor(parent, title, draw) {
    this.figure = document.getElementById(parent).appendChild(document.createElement("figure"));
    this.figure.appendChild(document.createElement("figcaption")).textContent = title;
    this.svg = this.figure.appendChild(element("svg", { height: tall, role: "img", "aria-label": title }));
    this.tip = this.figure.appendChild(document.createElement("div"));
    this.tip.className = "tip";
    this.plan = draw;
    this.svg.onpointermove = this.svg.onpointerdown = event => this.hover(event);
    this.svg.onpointerleave = () => { this.tip.style.display = "none"; };
    figures.push(this);
  }

  draw() {
    const width = this.svg.clientWidth || 480, { x, y, points, line } = this.plan();
    this.svg.setAttribute("viewBox", `0 0 ${width} ${tall}`);
    this.svg.replaceChildren();
    this.points = [];
    if (!x.categories && !x.ends || !y.ends) { this.svg.append(element("text", { x: 60, y: 40 }, "nothing to show")); return; }
    const across = scale(x.ends, x.isLog, x.categories, edge.left, width - edge.right);
    const up = scale(y.ends, y.isLog, null, tall - edge.bottom, edge.top);
    for (const [value, text] of up.marks) {
      this.svg.append(element("line", { x1: edge.left, x2: width - edge.right, y1: up.place(value), y2: up.place(value), stroke: "#8884" }));
      this.svg.append(element("text", { x: edge.left - 6, y: up.place(value) + 4, "text-anchor": "end" }, text));
    }
    const room = Math.max(6, Math.floor((width - edge.left - edge.right) / across.marks.length / 6.5));
    for (const [value, text] of across.marks)
      this.svg.append(element("text", { x: across.place(value), y: tall - 8, "text-anchor": "middle" }, cut(text, room)));
    if (line && line.length) {
      const last = Math.max(...study.trials.map(trial => trial.number));
      const steps = line.map(([at, value], index) => `${index ? "H" : "M"}${across.place(at)}${index ? "V" : " "}${up.place(value)}`);
      this.svg.append(element("path", { d: `${steps.join("")}H${across.place(last)}`, fill: "none", stroke: "#d55e00", "stroke-width": 1.5 }));
    }
    for (const [trial, at, value] of points) {
      const place = [across.place(at) + (x.categories ? spread(trial.number) : 0), value === null ? tall - edge.bottom - 4 : up.place(value)];
      const made = this.svg.appendChild(mark(trial, ...place));
      made.classList.toggle("faded", !isKept(trial));
      this.points.push([trial, ...place]);
    }
  }

  hover(event) {
    const box = this.svg.getBoundingClientRect(), at = [event.clientX - box.left, event.clientY - box.top];
    const far = ([, x, y]) => Math.hypot(x - at[0], y - at[1]);
    const near = this.points.filter(([trial]) => isKept(trial)).reduce((one, other) => !one || far(other) < far(one) ? other : one, null);
    if (!near || far(near) > 24) { this.tip.style.display = "none"; return; }
    showTip(this.tip, told(near[0]), near[1], near[2] + 24, this.svg.clientWidth);
  }
}

const cut = (text, room) => text.length <= room ? text : `${text.slice(0, room - 1)}…`;
const spread = number => (number * 7 % 11 - 5) * 2; // points of one category beside each other

function showTip(tip, lines, x, y, width) {
  tip.replaceChildren(...lines.map(line => { const row = document.createElement("div"); row.textContent = line; return row; }));
  tip.style.display = "block";
  tip.style.top = `${y}px`;
  tip.style.left = `${Math.max(0, Math.min(x + 12, width - tip.offsetWidth))}px`;
}

const valued = (index, trials = study.trials) => trials.filter(trial => trial.values[index] !== null);
const side = index => {
  const isLog = isLogged(index);
  return { isLog, ends: endsOf(valued(index).map(trial => trial.values[index]), isLog) };
};

study.objectives.forEach((objective, index) => new Scatter("history", `${objective.name} by trial`, () => ({
  x: { ends: endsOf(study.trials.map(trial => trial.number), false) },
  y: side(index),
  points: study.trials.filter(trial => trial.values[index] !== null || trial.state === "failed").map(trial => [trial, trial.number, trial.values[index]]),
  line: objective.best,
})));

if (document.getElementById("front")) study.objectives.forEach((first, one) => study.objectives.slice(one + 1).forEach((second, after) => {
  const other = one + 1 + after;
  new Scatter("front", `${second.name} (up) over ${first.name}`, () => ({
    x: side(one), y: side(other),
    points: valued(other, valued(one)).map(trial => [trial, trial.values[one], trial.values[other]]),
  }));
}));

if (study.axes.length) study.objectives.forEach((objective, index) => study.axes.forEach((axis, place) =>
  new Scatter("slices", `${objective.name} over ${axis.name}${axis.log ? " (log)" : ""}`, () => ({
    x: { ends: axis.ends, isLog: axis.log, categories: axis.categories },
    y: side(index),
    points: valued(index).filter(trial => trial.params[place] !== null).map(trial => [trial, trial.params[place], trial.values[index]]),
  }))));

// Parallel coordinates: an axis for each parameter and objective, a line for each trial that has objectives.
class Parallel {
  constructor(parent) {
    this.parent = parent;
    this.figure = parent.appendChild(document.createElement("figure"));
    this.svg = this.figure.appendChild(element("svg", { height: 300, role: "img", "aria-label": "parallel coordinates" }));
    this.tip = this.figure.appendChild(document.createElement("div"));
    this.tip.className = "tip";
    this.brushes = new Map();
    this.svg.onpointermove = event => this.hover(event);
    this.svg.onpointerleave = () => { this.tip.style.display = "none"; };
    figures.push(this);
  }

  draw() {
    const trials = study.trials.filter(trial => trial.values.every(value => value !== null));
    const lanes = [...study.axes.map((axis, index) => ({ ...axis, isLog: axis.log, value: trial => trial.params[index] })),
      ...study.objectives.map(({ name }, index) => ({ name, ...side(index), value: trial => trial.values[index] }))];
    const width = Math.max(this.parent.clientWidth - 2, lanes.length * 96), [top, low, none] = [28, 262, 288];
    this.svg.setAttribute("viewBox", `0 0 ${width} 300`);
    this.svg.style.width = `${width}px`;
    this.svg.replaceChildren();
    this.lines = [];
    if (!trials.length) { this.svg.append(element("text", { x: 60, y: 40 }, "nothing to show")); return; }
    const gap = (width - 110) / Math.max(1, lanes.length - 1);
    lanes.forEach((lane, index) => {
      lane.x = 55 + index * gap;
      const by = scale(lane.ends, lane.isLog, lane.categories, low, top);
      lane.y = trial => lane.value(trial) === null ? none : by.place(lane.value(trial));
      lane.marks = by.marks.map(([value, text]) => [by.place(value), text]);
    });
    const sign = onTop.mode === "max" ? -1 : 1;
    const ranked = [...trials].sort((one, other) => one.isBest - other.isBest || sign * (other.values[0] - one.values[0])); // the best on top
    ranked.forEach((trial, rank) => {
      const corners = lanes.map(lane => [lane.x, lane.y(trial)]), share = ranked.length > 1 ? rank / (ranked.length - 1) : 1;
      const path = this.svg.appendChild(element("path", { d: `M${corners.map(each => each.map(one => one.toFixed(1)).join(" ")).join("L")}`, fill: "none",
        stroke: trial.isBest ? "#d55e00" : colours.finished, "stroke-width": trial.isBest ? 2.5 : 1.2, "stroke-opacity": trial.isBest ? 1 : 0.1 + 0.8 * share ** 2,
        "stroke-dasharray": trial.state === "finished" ? "none" : "4 3" }));
      this.lines.push({ trial, corners, path });
    });
    for (const lane of lanes) this.axis(lane, gap, top, low, none);
    this.lanes = lanes;
    this.keep();
  }

  axis(lane, gap, top, low, none) {
    this.svg.append(element("line", { x1: lane.x, x2: lane.x, y1: top, y2: low, stroke: "currentColor", opacity: 0.6 }));
    const title = element("text", { x: lane.x, y: 14, "text-anchor": "middle", "font-weight": 600 }, cut(lane.name, Math.floor(gap / 6.5)));
    title.style.fontWeight = "600";
    title.append(element("title", {}, lane.key || lane.name));
    this.svg.append(title);
    for (const [y, text] of lane.marks) {
      const words = element("text", { x: lane.x - 5, y: y + 4, "text-anchor": "end", "paint-order": "stroke" }, cut(text, 9));
      words.style.cssText = "stroke: Canvas; stroke-width: 3px";
      this.svg.append(words);
    }
    if (this.lines.some(({ trial }) => lane.value(trial) === null)) this.svg.append(element("text", { x: lane.x - 5, y: none + 4, "text-anchor": "end" }, "–"));
    lane.brush = this.svg.appendChild(element("rect", { x: lane.x - 7, width: 14, fill: "#e69f00", "fill-opacity": 0.4 }));
    const handle = this.svg.appendChild(element("rect", { x: lane.x - 14, y: top - 8, width: 28, height: none - top + 16, fill: "transparent", "data-axis": lane.name }));
    handle.style.cssText = "cursor: ns-resize; touch-action: none";
    let from = null;
    const place = event => event.clientY - this.svg.getBoundingClientRect().top;
    handle.onpointerdown = event => { from = place(event); handle.setPointerCapture(event.pointerId); this.brushes.delete(lane.name); this.keep(); };
    handle.onpointermove = event => {
      if (from === null) return;
      const to = place(event);
      if (Math.abs(to - from) > 3) this.brushes.set(lane.name, [Math.min(from, to), Math.max(from, to)]);
      this.keep();
    };
    handle.onpointerup = handle.onpointercancel = () => { from = null; };
  }

  // Work out which trials are within all brushes, and show it everywhere.
  keep() {
    for (const lane of this.lanes || []) {
      const [from, to] = this.brushes.get(lane.name) || [0, 0];
      lane.brush.setAttribute("y", from);
      lane.brush.setAttribute("height", to - from);
    }
    const within = ({ trial }) => this.lanes.every(lane => {
      const brush = this.brushes.get(lane.name);
      return !brush || brush[0] <= lane.y(trial) && lane.y(trial) <= brush[1];
    });
    kept = this.brushes.size ? new Set(this.lines.filter(within).map(({ trial }) => trial.number)) : null;
    for (const { trial, path } of this.lines) path.classList.toggle("faded", !isKept(trial));
    for (const figure of figures) if (figure !== this && figure.points) figure.draw();
    for (const row of document.querySelectorAll("#trials tr[data-trial]")) row.hidden = kept !== null && !kept.has(Number(row.dataset.trial));
    document.getElementById("kept").textContent = kept === null ? "\u00a0" : `${kept.size} of ${study.trials.length} trials are within.`;
  }

  hover(event) {
    if (!this.lanes) return;
    const box = this.svg.getBoundingClientRect(), [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const far = ({ corners }) => {
      const after = corners.findIndex(corner => corner[0] >= x);
      if (after < 1) return Math.abs(corners[Math.max(0, after)][1] - y);
      const [[x1, y1], [x2, y2]] = [corners[after - 1], corners[after]];
      return Math.abs(y1 + (y2 - y1) * (x - x1) / (x2 - x1) - y);
    };
    const near = this.lines.filter(({ trial }) => isKept(trial)).reduce((one, other) => !one || far(other) < far(one) ? other : one, null);
    for (const { path } of this.lines) path.style.stroke = "";
    if (!near || far(near) > 12) { this.tip.style.display = "none"; return; }
    near.path.style.stroke = "currentColor";
    showTip(this.tip, told(near.trial), x, y + 16, this.svg.clientWidth);
  }
}
if (document.getElementById("parallel")) new Parallel(document.getElementById("parallel"));

document.getElementById("log-objectives").onchange = () => figures.forEach(each => each.draw());
new ResizeObserver(() => figures.forEach(each => each.draw())).observe(document.getElementById("history"));

document.querySelectorAll("#trials th").forEach((heading, column) => {
  const body = heading.closest("table").tBodies[0];
  const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
  heading.onclick = () => {
    const sign = heading.dataset.sign = heading.dataset.sign === "1" ? "-1" : "1";
    body.append(...[...body.rows].sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === "" || b === "") return (a === "") - (b === "");
      return sign * (isNaN(a) || isNaN(b) ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
    }));
  };
});

// A link to a run or a failure opens it.
const open = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const part = target && target.closest("details");
  if (part) { part.open = true; part.scrollIntoView(); }
};
addEventListener("hashchange", open);
addEventListener("load", open);
