"use strict";
// The rows in view are elements; all others are only data, so that a hundred thousand open as quickly as ten.
const rows = JSON.parse(document.getElementById("data").textContent);
const [KIND, FILE, CLASS, NEEDS, CODES, SIZE, MESSAGE, NEXT, FACTS] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const PAGE = 100; // rows that are added at once when the end of the table comes into view
const PRINTED = 1000; // rows on paper: some seventy pages, which a browser sets in seconds
const texts = rows.map((row) => row.join("\u0000").toLowerCase());
const byId = (id) => document.getElementById(id);
const body = byId("rows");
let order = rows.map((_, index) => index);
let found = order;
let shown = 0;

function bytes(count) {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (count >= size) return `${(count / size).toFixed(count / size >= 10 ? 0 : 1)} ${unit}`;
  }
  return `${count} B`;
}

function cell(text, label, kind) {
  const made = document.createElement("td");
  made.textContent = text;
  made.dataset.label = label;
  if (kind) made.className = kind;
  return made;
}

function element(row) {
  const made = document.createElement("tr");
  const file = cell(row[FILE], "file");
  for (const [text, name] of [[row[FACTS], "small"], [row[MESSAGE], "p"], [row[NEXT], "code"]]) {
    if (!text) continue;
    const part = document.createElement(name);
    part.textContent = text;
    file.append(" ", part);
  }
  made.append(
    cell(row[KIND], "verdict", row[KIND]), file, cell(row[CLASS], "class"),
    cell(row[NEEDS], "to be stated"), cell(row[CODES], "findings"), cell(bytes(row[SIZE]), "size"),
  );
  return made;
}

function more() {
  const next = found.slice(shown, shown + PAGE);
  body.append(...next.map((index) => element(rows[index])));
  shown += next.length;
}

function update() {
  const words = byId("text").value.toLowerCase().split(/\s+/).filter(Boolean);
  const [kind, name, code] = [byId("kind").value, byId("class").value, byId("code").value];
  found = order.filter((index) => {
    const row = rows[index];
    return (!kind || row[KIND] === kind) && (!name || row[CLASS] === name)
      && (!code || row[CODES].split(" ").includes(code)) && words.every((word) => texts[index].includes(word));
  });
  body.replaceChildren();
  shown = 0;
  more();
  byId("count").value = `${found.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
}

function offer(id, values) {
  for (const value of [...new Set(values)].filter(Boolean).sort()) byId(id).append(new Option(value, value));
}

function sortBy(column, button) {
  const down = button.dataset.order === "up";
  for (const other of document.querySelectorAll("[data-by]")) delete other.dataset.order;
  button.dataset.order = down ? "down" : "up";
  const collator = new Intl.Collator("en", { numeric: true });
  const compare = column === SIZE ? (a, b) => a - b : collator.compare;
  order = rows.map((_, index) => index).sort((a, b) => (down ? -1 : 1) * compare(rows[a][column], rows[b][column]));
  update();
}

offer("kind", rows.map((row) => row[KIND]));
offer("class", rows.map((row) => row[CLASS]));
offer("code", rows.flatMap((row) => row[CODES].split(" ")));
byId("filter").addEventListener("input", update);
byId("filter").addEventListener("submit", (event) => event.preventDefault());
byId("view").addEventListener("scroll", () => {
  const view = byId("view");
  if (view.scrollTop + 2 * view.clientHeight > view.scrollHeight) more();
});
// paper has no end to scroll to, and a browser sets rows into pages slowly: what is left out is said
addEventListener("beforeprint", () => {
  while (shown < Math.min(found.length, PRINTED)) more();
  while (shown > PRINTED) { body.lastElementChild.remove(); shown -= 1; }
  const [all, rest] = [found.length, found.length - shown].map((count) => count.toLocaleString("en"));
  byId("unprinted").textContent = found.length > shown
    ? `The first ${shown.toLocaleString("en")} of ${all} files follow, in the order of the page; ${rest} are not printed. `
      + "Find or choose fewer before printing, or have all of them with --output csv:FILE."
    : "";
});
for (const button of document.querySelectorAll("[data-by]")) {
  button.addEventListener("click", () => sortBy(Number(button.dataset.by), button));
}
update();
