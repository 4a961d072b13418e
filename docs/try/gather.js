// From what a person drops or chooses to pairs of a path and a File; nothing is read here.

/** A drop that cannot be used; its message is a sentence for the page. */
export class NotFiles extends Error {}

/** Files of a file input: a folder's come with their paths below it. */
export function chosen(input) {
  return [...input.files].map((file) => [file.webkitRelativePath || file.name, file]);
}

/** Files and folders of a drop event; must be called before the event is over. */
export function dropped(event) {
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) {
    throw new NotFiles("That was not a file: drop checkpoints out of a folder of this machine, or use the buttons.");
  }
  return Promise.all(entries.map(below)).then((lists) => lists.flat());
}

async function below(entry) {
  const path = entry.fullPath.replace(/^\/+/, "");
  if (entry.isFile) return [[path, await new Promise((done, failed) => entry.file(done, failed))]];
  const lists = [];
  for (const child of await children(entry)) lists.push(await below(child));
  return lists.flat();
}

/** The entries of a folder: a browser gives them by the hundred, and an empty list at the end. */
async function children(folder) {
  const reader = folder.createReader();
  const all = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return all;
    all.push(...some);
  }
}

/** What the command is given: the files and folders as they were dropped, each once, in order of their names. */
export function roots(files) {
  return [...new Set(files.map(([path]) => path.split("/")[0]))].sort();
}
