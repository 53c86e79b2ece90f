"use strict";
// What the scripts of the sections share. `hidden` has the places of runs that are not to be shown; the event "runs" says it has changed.
const hidden = new Set();
const read = name => JSON.parse(document.getElementById(`data-${name}`).textContent);
const element = (name, attributes = {}, text = "") => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  made.textContent = text;
  return made;
};
const short = value => value === 0 ? "0" : Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3
  ? value.toExponential(1) : String(Number(value.toPrecision(4)));

// Round numbers between two values; powers of ten on a log scale.
function ticks(low, high, isLog) {
  const found = [];
  if (isLog && high / low > 20) {
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++)
      if (10 ** power >= low) found.push(10 ** power);
    return found;
  }
  const rough = (high - low) / 5 || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find(each => each * power >= rough) * power;
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) found.push(value);
  return found;
}
