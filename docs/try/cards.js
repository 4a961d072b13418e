// From the JSON of a command to what a person reads. Everything that a file says goes through textContent.

const VERDICTS = {
  compatible: "compatible: it loads as it stands",
  remappable: "remappable: it loads once it is rewritten",
  incompatible: "incompatible: the class is known, and some tensors have no place",
  unknown: "unknown: a checkpoint of no class that is known here",
  unreadable: "unreadable",
};

/** Make an element: its text, or its children. */
export function element(name, { text, ...attributes } = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  made.append(...children.filter(Boolean));
  return made;
}

/** Write a number of bytes as people do. */
export function amount(bytes) {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (bytes >= size) return `${(bytes / size).toFixed(1)} ${unit}`;
  }
  return `${bytes} bytes`;
}

/** A line to paste, with a button that copies it. */
export function paste(line) {
  const button = element("button", { type: "button", text: "Copy" });
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(line);
      button.textContent = "Copied";
    } catch {
      // a page without https may not write there: the line is selected instead
      getSelection().selectAllChildren(button.previousSibling);
      button.textContent = "Selected";
    }
  });
  return element("div", { class: "paste-row" }, element("pre", { class: "paste", text: line }), button);
}

/** What opens at a click, and is long. */
export function folded(title, content, name) {
  return element("details", {}, element("summary", { text: title }), element("pre", { class: name, text: content, tabindex: "0" }));
}

/** Read a report; a number that was written as 0.0 stays that, where the browser tells how it was written. */
export function parsed(text) {
  const exact = (key, value, context) => (typeof value === "number" && context?.source?.includes(".") ? context.source : value);
  return JSON.parse(text, exact);
}

/** Say how many files have which verdict. */
export function tally(list) {
  const counts = new Map();
  for (const { verdict } of list) counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
  return `${list.length} checkpoints: ${[...counts].map(([verdict, count]) => `${count} ${verdict}`).join(", ")}`;
}

/** The card of one result of check; `inspect` is called with the element that its report goes into. */
export function card(result, inspect) {
  const made = element("article", { class: `card ${result.verdict}` });
  made.append(element("h2", { text: result.file }));
  made.append(element("p", { class: "verdict", text: VERDICTS[result.verdict] ?? result.verdict }));
  if (result.architecture) made.append(...architecture(result.architecture));
  if (result.tensors) made.append(element("p", { class: "quiet", text: contents(result) }));
  if (result.findings.length) made.append(element("h3", { text: "Findings" }), findings(result.findings));
  if (result.python) made.append(element("h3", { text: "Load it, in Python" }), paste(`import viscy_compat\n${result.python}`));
  if (result.next) made.append(element("h3", { text: "Next, in a terminal" }), paste(result.next));
  made.append(inspection(inspect));
  return made;
}

function architecture(found) {
  const origin = found.written_by ? ` (written by ${found.written_by})` : "";
  const title = element("p", {}, element("strong", { text: found.class }), `, generation ${found.generation}${origin}`);
  if (!found.config) return [title];
  const rows = Object.entries(found.config).map(([name, value]) => {
    const source = found.sources?.[name] ?? "";
    const shown = source === "not known" ? "..." : spelled(value);
    const cells = [element("td", { text: shown }), element("td", { class: "quiet", text: source })];
    return element("tr", {}, element("th", { scope: "row", text: name }), ...cells);
  });
  const caption = element("caption", { class: "quiet", text: "Configuration, and where each value comes from" });
  return [title, element("table", {}, caption, ...rows)];
}

/** A value in the spelling of --set. */
function spelled(value) {
  return Array.isArray(value) ? value.map(spelled).join(",") : value === null ? "none" : String(value);
}

function contents(result) {
  return `${result.tensors} tensors, ${amount(result.bytes)}, ${result.format}`;
}

function findings(list) {
  return element("ul", {}, ...list.map((row) => {
    const line = element("li", {}, element("strong", { text: `${row.severity} ${row.code}` }), `: ${row.message}`);
    if (row.fix) line.append(element("br"), element("span", { class: "quiet", text: `What to do: ${row.fix}` }));
    return line;
  }));
}

function inspection(inspect) {
  const place = element("div");
  const made = element("details", {}, element("summary", { text: "What is in the file (inspect)" }), place);
  made.addEventListener("toggle", () => made.open && !place.hasChildNodes() && inspect(place));
  return made;
}
