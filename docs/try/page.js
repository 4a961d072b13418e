// The page: gathers files, asks the worker, shows its answers.

import { amount, card, element, folded, parsed, tally } from "./cards.js";
import { NotFiles, chosen, dropped, roots } from "./gather.js";

const drop = document.getElementById("drop");
const status = document.getElementById("status");
const stop = document.getElementById("stop");
const runs = document.getElementById("runs");

const STOPPED = "it was stopped";
const LONGEST = 3 * 60_000; // milliseconds for one file: an honest one takes less than a second, and some on a crowded machine
const TOO_LONG = "it took longer than three minutes";

const waiting = new Map();
let worker;
let about;
let count = 0;
let patience; // the timer of the file that is being read
const reading = { file: "", seen: new Set() };

/** Start Python. The worker is a blob, because only such a one inherits the policy of this page. */
function start() {
  about = undefined;
  status.textContent = "Starting Python in this browser ...";
  const script = `import(${JSON.stringify(new URL("worker.js", document.baseURI).href)})`;
  const address = URL.createObjectURL(new Blob([waits(script)], { type: "text/javascript" }));
  worker = new Worker(address, { type: "module" });
  worker.addEventListener("message", ({ data }) => heard(data));
  worker.addEventListener("error", (event) => heard({ kind: "ended", what: event.message ?? "it could not be started" }));
}

/** Messages that come before the module is there are kept for it. */
function waits(script) {
  return `const early = []; onmessage = (event) => early.push(event);
    ${script}.then(() => early.forEach((event) => onmessage(event)),
      (error) => postMessage({ kind: "ended", what: error.message }));`;
}

function heard(message) {
  if (message.kind === "ready") return ready(message);
  if (message.kind === "reading") return read(message);
  if (message.kind === "ended" && message.id === undefined) return broken(message.what);
  const asked = waiting.get(message.id);
  waiting.delete(message.id);
  watch();
  if (!waiting.size) idle();
  asked?.settle(message);
  if (message.kind === "ended") restart();
}

/** Say which file of a drop is being read, and give it the time that one file has. */
function read({ id, file }) {
  if (!waiting.has(id)) return;
  const { question } = waiting.get(id);
  reading.file = file;
  reading.seen.add(file);
  const place = question.files.length > 1 ? ` (${reading.seen.size} of ${question.files.length})` : "";
  status.textContent = `Reading ${file}${place} ...`;
  watch();
}

/** Begin the time of one file anew; where nothing is read there is none. */
function watch() {
  clearTimeout(patience);
  const [id] = waiting.keys();
  if (about && id !== undefined) patience = setTimeout(() => heard({ kind: "ended", id, what: TOO_LONG, file: reading.file }), LONGEST);
}

function ready({ about: told, alone, whole, snapshot }) {
  about = told;
  document.getElementById("versions").textContent =
    `viscy-compat ${told.version} (${told.wheel}), Pyodide ${told.pyodide}, Python ${told.python}.`;
  Object.assign(document.body.dataset, { alone: alone.toFixed(0), whole: whole.toFixed(0), snapshot });
  watch();
  if (!waiting.size) return idle();
  const [{ name }] = waiting.values();
  status.textContent = `Reading ${name} ...`;
}

function idle() {
  stop.hidden = true;
  if (about) status.textContent = "Ready.";
}

function broken(what) {
  about = undefined;
  end(what);
  status.textContent = `Python could not be started: ${what}. Reload the page; it needs a browser of 2023 or later.`;
}

/** Start Python again; what else was asked is asked anew. */
function restart() {
  worker.terminate();
  clearTimeout(patience);
  start();
  for (const { question } of waiting.values()) worker.postMessage(question);
}

/** Answer whatever was asked with an end. */
function end(what) {
  for (const [id, { settle }] of waiting) settle({ kind: "ended", id, what });
  waiting.clear();
  stop.hidden = true;
}

/** Run a command on the files of a drop, and return what the worker answers. */
function ask(run, words) {
  const id = ++count;
  reading.seen.clear();
  status.textContent = about ? `Reading ${run.name} ...` : `Starting Python, then reading ${run.name} ...`;
  stop.hidden = false;
  const question = { id, drop: run.drop, files: run.files, words };
  worker.postMessage(question);
  const answer = new Promise((settle) => waiting.set(id, { settle, question, name: run.name }));
  watch();
  return answer;
}

async function take(files) {
  if (!files.length) return say("There was no file in it.");
  const names = roots(files);
  const name = names.length === 1 ? names[0] : `${names.length} files and folders`;
  const run = { drop: ++count, files, names, name, ended: [], place: element("section", { class: "run", "aria-label": name }) };
  runs.prepend(run.place);
  await check(run, []);
}

/** Check a drop with what is stated, and show it in the drop's place; a file that ends Python is left out, and named. */
async function check(run, statements) {
  let answer;
  do {
    answer = await ask(run, ["check", "--format", "json", ...statements, "--", ...run.names]);
  } while (leftOut(run, answer));
  const shown = answer.kind === "answer" && answer.out ? results(run, answer, statements) : [];
  const ended = run.ended.map(({ file, what }) => trouble({ name: file }, { kind: "ended", what }));
  if (!shown.length && run.names.length) ended.push(trouble(run, answer));
  run.place.replaceChildren(...ended, ...shown, ...(run.names.length ? [states(run, statements)] : []));
  run.place.dataset.answers = Number(run.place.dataset.answers ?? 0) + 1;
}

/** Take the file that ended Python out of a drop, and say whether the rest can be asked about again. */
function leftOut(run, { kind, what, file }) {
  if (kind !== "ended" || what === STOPPED || !run.files.some(([path]) => path === file)) return false;
  run.ended.push({ file, what });
  run.files = run.files.filter(([path]) => path !== file);
  run.names = roots(run.files);
  return run.names.length > 0;
}

function results(run, answer, statements) {
  const report = parsed(answer.out);
  const inspect = (result) => (place) => inspectInto(run, result, statements, place);
  const size = run.files.reduce((sum, [, file]) => sum + file.size, 0);
  const read = `Read ${amount(answer.bytesRead)} of ${amount(size)} in ${answer.seconds.toFixed(1)} s.`;
  return [
    report.results.length > 1 && element("p", { class: "tally", text: tally(report.results) }),
    ...report.results.map((result) => card(result, inspect(result))),
    answer.errors && element("p", { text: answer.errors }),
    element("p", { class: "quiet read", "data-bytes": answer.bytesRead, text: read }),
    folded("The report as text", answer.text.trimEnd(), "text"),
    folded("The report as JSON", answer.out.trimEnd(), "json"),
  ].filter(Boolean);
}

async function inspectInto(run, result, statements, place) {
  place.replaceChildren(element("p", { text: "Reading ..." }));
  const which = statements.includes("--state-dict") ? ["--state-dict", statements[statements.indexOf("--state-dict") + 1]] : [];
  const answer = await ask(run, ["inspect", "--format", "json", ...which, "--", result.file]);
  if (answer.kind !== "answer" || !answer.out) return place.replaceChildren(trouble(run, answer));
  place.replaceChildren(
    element("pre", { class: "inspected", text: answer.text.trimEnd(), tabindex: "0" }),
    folded("The same as JSON", answer.out.trimEnd(), "inspected-json"),
  );
}

/** What a person reads where there is no report. */
function trouble(run, answer) {
  const sentence = {
    answer: () => answer.errors.trim().replace(/^viscy-compat: /, ""),
    failed: () => `viscy-compat itself failed on ${run.name}, which is a fault of it, not of the file: ${answer.what}`,
    ended: () => answer.what === STOPPED ? `Reading ${run.name} ended, because ${STOPPED}.` : `Python ended while it read ${run.name} (${answer.what}). It was started again, and goes on without this file; try the command line for it.`,
  }[answer.kind]();
  return element("article", { class: "card unreadable" }, element("h2", { text: run.name }), element("p", { class: "error", text: sentence }));
}

/** The form with which a person states what weights cannot tell, as --as, --set and --state-dict do. */
function states(run, statements) {
  const field = (title, input) => element("label", {}, title, input);
  const classes = ["", ...(about?.classes ?? [])].map((name) => element("option", { value: name, text: name || "as the file says" }));
  const as = element("select", {}, ...classes);
  const set = element("textarea", { rows: "3", placeholder: "stem_stride=5,4,4" });
  const address = element("input", { placeholder: "state_dict:ema.model." });
  const form = element("form", { class: "statements" },
    field("Class (--as)", as), field("Constructor arguments, one a line (--set)", set),
    field("Set of weights, where the file holds several (--state-dict)", address),
    element("button", { text: "Check again" }));
  restore(statements, { as, set, address });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    check(run, stated({ as, set, address }));
  });
  const made = element("details", { class: "states" }, element("summary", { text: "State what the weights cannot tell" }), form);
  made.open = statements.length > 0;
  return made;
}

function stated({ as, set, address }) {
  const settings = set.value.split("\n").map((line) => line.trim()).filter(Boolean);
  return [
    ...(as.value ? ["--as", as.value] : []),
    ...settings.flatMap((line) => ["--set", line]),
    ...(address.value ? ["--state-dict", address.value] : []),
  ];
}

function restore(statements, { as, set, address }) {
  const values = (flag) => statements.filter((_, place) => statements[place - 1] === flag);
  as.value = values("--as")[0] ?? "";
  set.value = values("--set").join("\n");
  address.value = values("--state-dict")[0] ?? "";
}

function say(sentence) {
  status.textContent = sentence;
}

/** Take what `gather` gives, or say why it cannot be taken. */
async function taken(gather) {
  try {
    await take(await gather());
  } catch (error) {
    say(error instanceof NotFiles ? error.message : `This could not be read: ${error.message ?? error}. Use the buttons instead.`);
  }
}

for (const id of ["files", "folder"]) {
  const input = document.getElementById(id);
  input.addEventListener("change", async () => {
    const files = chosen(input);
    input.value = ""; // so that the same file can be chosen again
    await taken(() => files);
  });
}
// a file that misses the field must not replace the page
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
drop.addEventListener("dragover", () => drop.classList.add("over"));
for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => taken(() => dropped(event)));
stop.addEventListener("click", () => {
  end(STOPPED);
  restart();
});
start();
