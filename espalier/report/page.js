"use strict";
// What the scripts of the sections share. `hidden` has the rows of the table whose curves are not to be shown; the event "runs"
// says that it has changed.
const hidden = new Set();
const read = name => JSON.parse(document.getElementById(`data-${name}`).textContent);
const element = (name, attributes = {}, text = "") => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  made.textContent = text;
  return made;
};
const short = value => value === 0 ? "0" : Math.abs(value) >= 1e6 || Math.abs(value) < 1e-3
  ? value.toExponential(1).replace(".0e", "e") : String(Number(value.toPrecision(4)));

// Round numbers between two values; powers of ten on a log scale.
function ticks(low, high, isLog) {
  const found = [];
  if (isLog && high / low > 20) {
    const every = Math.ceil(Math.log10(high / low) / 8);
    for (let power = Math.ceil(Math.log10(low) / every) * every; 10 ** power <= high; power += every) found.push(10 ** power);
    return found;
  }
  const rough = high / 6 - low / 6 || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find(each => each * power >= rough * 0.999) * power;
  for (let number = Math.ceil(low / step); number * step <= high + step * 1e-9 && found.length < 20; number++) found.push(number * step);
  return found;
}

// A page that is written anew while runs go on is loaded again, but not under a hand that holds a curve. What was chosen is kept.
function keepUpToDate(note, seconds) {
  const kept = () => document.querySelectorAll("input, select, details");
  const nameOf = each => each.dataset.keep || each.id;
  const state = JSON.parse(sessionStorage.getItem("kept") || "{}");
  for (const each of kept()) {
    if (!Object.hasOwn(state, nameOf(each))) continue;
    const value = state[nameOf(each)];
    if (each.tagName === "DETAILS") each.open = value;
    else { each[each.type === "checkbox" ? "checked" : "value"] = value; each.dispatchEvent(new Event(each.type === "checkbox" ? "change" : "input")); }
  }
  if (state.scroll !== undefined) scrollTo(0, state.scroll);
  const began = Date.now(), written = Number(note.dataset.written) * 1000, box = note.querySelector("input");
  setInterval(() => {
    const age = Math.round((Date.now() - written) / 1000);
    note.querySelector("span").textContent = ` ${age} s old${age > 4 * seconds ? ": report.py --watch has ended" : ""}`;
    if (!box.checked || Date.now() - began < seconds * 1000 || document.querySelector("figure:hover, .zoomed, input:focus[type=search]")) return;
    const state = { scroll: scrollY };
    for (const each of kept()) state[nameOf(each)] = each.tagName === "DETAILS" ? each.open : each.type === "checkbox" ? each.checked : each.value;
    sessionStorage.setItem("kept", JSON.stringify(state));
    location.reload();
  }, 1000);
}
