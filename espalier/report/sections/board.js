// The table: a click on a run hides its curves, one on a heading sorts by it.
const body = document.querySelector("#board tbody");
for (const row of body.rows) row.querySelector("input").onchange = event => {
  const index = Number(row.dataset.run);
  if (event.target.checked) hidden.delete(index); else hidden.add(index);
  row.classList.toggle("off", !event.target.checked);
  document.dispatchEvent(new Event("runs"));
};
document.getElementById("filter").oninput = event => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of body.rows) row.hidden = !words.every(word => row.dataset.text.includes(word));
};
document.querySelectorAll("#board th").forEach((heading, column) => {
  heading.onclick = () => {
    const sign = heading.dataset.sign = heading.dataset.sign === "1" ? "-1" : "1";
    const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const compare = (one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === "" || b === "") return (a === "") - (b === "");
      return sign * (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
    };
    body.append(...[...body.rows].sort(compare));
  };
});
