"use strict";
const find = id => document.getElementById(id);
const make = (name, text = "", kind = "") => {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
};
const MOST_BARS = 10, MOST_ROWS = 100, AT_ONCE = 4;
const COLOURS = ["#8886", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#b2b200", "#6a3d9a"];
const percent = share => share === null ? "no number" : `${(100 * share).toFixed(share > 0.9995 || share < 0.0005 ? 2 : 1)} %`;
const WORDS = { image: "pictures", lines: "texts", csv: "tables" };
const waiting = [];
let facts = null, atWork = 0;

// What the model takes decides what is shown to be filled.
async function begin() {
  try {
    facts = await (await fetch("about")).json();
  } catch {
    find("results").prepend(make("p", "The server does not answer.", "failed"));
    return;
  }
  document.title = find("name").textContent = facts.name;
  const classes = facts.classes.length;
  find("summary").textContent = `Takes ${facts.kind === "window" ? "series" : WORDS[facts.formats[0]] || facts.takes}.${classes ? ` Knows ${classes} classes.` : ""}`;
  const has = form => facts.formats.includes(form);
  find("drop").hidden = has("lines");
  find("files").accept = { image: "image/*,.npy,.json", npy: ".npy,.json", csv: ".csv,.tsv,.npy,.json" }[facts.formats[0]] || "";
  if (has("csv")) find("what").textContent = ", or choose one: a table with a header, .csv or .tsv";
  else if (has("npy") && !has("image")) find("what").textContent = ", or choose one: .npy, each row an input";
  if (facts.columns) askForRow(facts.columns);
  else if (has("lines")) askForText("A text on each line");
  else if (!has("image")) askForText('{"inputs": [...]}');
  find("command").textContent = command();
  for (const [name, value] of told()) find("facts").append(make("dt", name), make("dd", value));
}

function askForText(hint) {
  find("write").hidden = find("send").hidden = false;
  find("text").placeholder = hint;
}

function askForRow(columns) {
  find("row").hidden = find("send").hidden = false;
  for (const { name, type, values } of columns) {
    const label = make("label", name), input = make("input");
    Object.assign(input, { name, id: `column-${name}`, type: "text", autocomplete: "off" });
    if (type === "number") input.inputMode = "decimal";
    label.htmlFor = input.id;
    input.dataset.type = type;
    if (values && values.length) {
      const list = make("datalist");
      list.id = `values-${name}`;
      for (const value of values) { const option = make("option"); option.value = value; list.append(option); }
      input.setAttribute("list", list.id);
      find("row").append(list);
    }
    find("row").append(label, input);
  }
}

function* told() {
  if (facts.classes.length) yield ["classes", facts.classes.join(", ")];
  for (const [name, value] of Object.entries({ ...facts.facts, device: facts.device, since: facts.since, ...facts.versions }))
    if (value !== null && value !== "") yield [name, typeof value === "object" ? JSON.stringify(value) : String(value)];
}

function command() {
  const to = new URL("predict", location.href).href;
  if (facts.formats[0] === "lines") return `curl ${to} -H "Content-Type: text/plain" --data-binary "A text on each line"`;
  const name = { image: "picture.jpg", csv: "rows.csv", npy: "inputs.npy" }[facts.formats[0]] || "inputs.json";
  return `curl ${to} -F "file=@${name}"`;
}

// Each input has its place in the list at once; a few are on their way at a time.
function ask(caption, url, body, type) {
  find("empty").hidden = true;
  const article = make("article"), figure = make("figure"), result = make("div", "…");
  if (url !== null) {
    const picture = make("img");
    picture.alt = caption;
    picture.addEventListener("error", () => picture.remove()); // of a kind that a browser does not show
    picture.src = url;
    figure.append(picture);
  }
  figure.append(make("figcaption", caption));
  article.append(figure, result);
  find("results").prepend(article);
  waiting.push({ figure, result, body, type });
  next();
}

async function next() {
  if (atWork >= AT_ONCE || !waiting.length) return;
  const { figure, result, body, type } = waiting.shift();
  atWork++;
  try {
    const response = await fetch("predict", { method: "POST", body, headers: type ? { "Content-Type": type } : {} });
    const answer = await response.json();
    if (answer.predictions) show(answer.predictions, figure, result);
    else result.replaceChildren(make("p", answer.error, "failed"));
  } catch {
    result.replaceChildren(make("p", "The server does not answer.", "failed"));
  }
  atWork--;
  next();
}

function show(predictions, figure, result) {
  if (predictions.length > 1) return result.replaceChildren(table(predictions));
  const [said] = predictions;
  if (said.error) return result.replaceChildren(make("p", said.error, "failed"));
  const words = wordsOf(said);
  if (words !== undefined) return result.replaceChildren(make("h2", words), bars(said));
  if (said.value !== null && said.value.boxes) return result.replaceChildren(boxes(said.value));
  if (isMask(said.value)) return result.replaceChildren(mask(said.value), legend(said.value));
  result.replaceChildren(make("pre", plain(said.value).slice(0, 2000)));
}

function bars(said) {
  const list = make("dl", "", "bars"), on = said.labels || [said.label];
  const shares = Object.entries(said.probabilities).sort(([, a], [, b]) => b - a);
  for (const [name, share] of shares.slice(0, MOST_BARS)) {
    const kind = on.includes(name) ? "first" : "", row = make("dd"), track = make("span", "", "track"), bar = make("span", "", "bar");
    bar.style.width = `${100 * (share || 0)}%`;
    track.append(bar);
    row.append(track, make("span", percent(share), kind));
    list.append(make("dt", name, kind), row);
  }
  if (shares.length > MOST_BARS) list.append(make("dt", ""), make("dd", `and ${shares.length - MOST_BARS} more`));
  return list;
}

function table(predictions) {
  const rows = predictions.map((said, index) => {
    const told = said.error || (wordsOf(said) ?? plain(said.value).slice(0, 200));
    return [index + 1, told, said.probability === undefined ? "" : percent(said.probability)];
  });
  const made = filled(["", "prediction", rows.some(each => each[2]) ? "probability" : ""], rows);
  predictions.slice(0, MOST_ROWS).forEach((said, index) => { if (said.error) made.querySelectorAll("td:nth-child(2)")[index].className = "failed"; });
  return made;
}

// Where they are in the picture that the model has seen, which need not be as large as the one that was sent.
function boxes({ boxes: all, labels = [], scores = [] }) {
  if (!all.length) return make("h2", "nothing found");
  const rows = all.map((box, index) => [facts.classes[labels[index]] ?? labels[index] ?? "", scores[index] === undefined ? "" : percent(scores[index]),
    ...box.map(each => Number(each.toPrecision(4)))]);
  return filled(["class", "score", "left", "top", "right", "bottom"], rows);
}

function filled(names, rows) {
  const wide = make("div", "", "wide"), made = make("table"), head = make("tr");
  head.append(...names.map(each => make("th", each)));
  made.append(head);
  for (const cells of rows.slice(0, MOST_ROWS)) {
    const row = make("tr");
    row.append(...cells.map(each => make("td", String(each), typeof each === "number" || /%$/.test(each) ? "number" : "")));
    made.append(row);
  }
  wide.append(made);
  if (rows.length > MOST_ROWS) wide.append(make("p", `and ${rows.length - MOST_ROWS} more`, "note"));
  return wide;
}

const wordsOf = said => said.labels ? said.labels.join(", ") || "none" : said.label;

// A list of lists of one number, as of the hours of a day, is told as a list of numbers.
const plain = value => {
  while (Array.isArray(value) && value.length && value.every(each => Array.isArray(each) && each.length === 1)) value = value.flat();
  return JSON.stringify(Array.isArray(value) && value.length === 1 ? value[0] : value).replaceAll(",", ", ");
};

// A class for each pixel: in colours, and what part of the picture each has.
const isMask = value => Array.isArray(value) && value.length > 1 && Array.isArray(value[0]) && Number.isInteger(value[0][0]);

const colour = number => COLOURS[number % COLOURS.length];

function mask(value) {
  const canvas = make("canvas"), pen = canvas.getContext("2d");
  [canvas.height, canvas.width] = [value.length, value[0].length];
  value.forEach((row, y) => row.forEach((each, x) => {
    pen.fillStyle = colour(each);
    pen.fillRect(x, y, 1, 1);
  }));
  return canvas;
}

function legend(value) {
  const list = make("dl", "", "bars"), counts = new Map(), all = value.flat();
  for (const each of all) counts.set(each, (counts.get(each) || 0) + 1);
  for (const [number, count] of [...counts].sort(([, a], [, b]) => b - a).slice(0, MOST_BARS)) {
    const name = make("dt", facts.classes[number] ?? String(number)), swatch = make("span", "", "swatch");
    swatch.style.background = colour(number);
    name.prepend(swatch);
    list.append(name, make("dd", `${percent(count / all.length)} of the picture`));
  }
  return list;
}

function take(files) {
  for (const file of files) {
    const form = new FormData(), isPicture = facts.formats.includes("image") && !/\.(npy|json)$/i.test(file.name);
    form.append("file", file);
    ask(file.name, isPicture ? URL.createObjectURL(file) : null, form, null);
  }
}

function send() {
  if (facts.columns) {
    const filled = [...find("row").querySelectorAll("input")].filter(each => each.value.trim() !== "");
    const cell = each => each.dataset.type === "number" && Number.isFinite(Number(each.value)) ? Number(each.value) : each.value;
    const row = Object.fromEntries(facts.columns.map(({ name }) => [name, null]));
    for (const each of filled) row[each.name] = cell(each);
    const caption = filled.map(each => `${each.name} ${each.value}`).join(", ") || "an empty row";
    return ask(caption, null, JSON.stringify({ inputs: [row] }), "application/json");
  }
  const text = find("text").value;
  if (!facts.formats.includes("lines")) return ask(text.slice(0, 200), null, text, "application/json");
  for (const line of text.split("\n").filter(each => each.trim()))
    ask(line, null, JSON.stringify({ inputs: [line] }), "application/json");
}

find("files").addEventListener("change", event => { take(event.target.files); event.target.value = ""; });
find("send").addEventListener("click", send);
find("row").addEventListener("submit", event => event.preventDefault());
find("row").addEventListener("keydown", event => { if (event.key === "Enter") send(); });
addEventListener("paste", event => { if (event.clipboardData.files.length && facts) take(event.clipboardData.files); });
// Also beside the field: a file that is dropped there must not take the place of the page.
addEventListener("dragover", event => { event.preventDefault(); find("drop").classList.add("over"); });
addEventListener("dragleave", event => { if (!event.relatedTarget) find("drop").classList.remove("over"); });
addEventListener("drop", event => {
  event.preventDefault();
  find("drop").classList.remove("over");
  if (facts) take(event.dataTransfer.files);
});
begin();
