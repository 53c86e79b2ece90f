// The table: its boxes and the filter say which curves are shown, a click on a heading sorts by it.
const body = document.querySelector("#board tbody");
const boxes = new Map(Array.from(body.rows, row => [row, row.querySelector("input")]));
const filter = document.getElementById("filter"), all = document.querySelector("#board thead input");
const shown = () => {
  const words = (filter ? filter.value : "").toLowerCase().split(/\s+/).filter(Boolean);
  for (const [row, box] of boxes) {
    row.hidden = !words.every(word => row.dataset.text.includes(word));
    row.classList.toggle("off", !box.checked);
    if (box.checked && !row.hidden) hidden.delete(Number(row.dataset.run)); else hidden.add(Number(row.dataset.run));
  }
  const seen = [...boxes].filter(([row]) => !row.hidden);
  all.checked = seen.length > 0 && seen.every(([, box]) => box.checked);
  document.dispatchEvent(new Event("runs"));
};
for (const box of boxes.values()) box.onchange = shown;
all.onchange = () => {
  const { checked } = all;
  for (const [row, box] of boxes) if (!row.hidden) box.checked = checked;
  shown();
};
if (filter) filter.oninput = shown;
shown();
document.querySelectorAll("#board th").forEach((heading, column) => {
  if (column) heading.onclick = () => {
    const sign = heading.dataset.sign = heading.dataset.sign === "1" ? "-1" : "1";
    const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const compare = (one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === "" || b === "") return (a === "") - (b === "");
      return sign * (isNaN(a) || isNaN(b) ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
    };
    body.append(...[...body.rows].sort(compare));
  };
});
