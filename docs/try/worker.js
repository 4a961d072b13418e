// Python in a worker: runs one command after the other on files of the page, which it reads by slices.

const here = new URL(".", import.meta.url);
const started = performance.now();
let python;
let answer;
let PythonError;
let bytesRead = 0;
let asked; // the number of the question at hand
let readLast = ""; // the path in the drop of the file that was read last: the one that ends Python, where one does

/** Fetch a file of this folder; a host that lacks it is named, with what to do. */
async function fetched(name) {
  const response = await fetch(new URL(name, here));
  if (!response.ok) throw new Error(`${name} is missing beside this page (${response.status}): build the folder again`);
  return response;
}

/**
 * A file system over File objects, on Emscripten's own WORKERFS, whose reads are slices through FileReaderSync.
 * Made here and not by WORKERFS.mount: that looks up folder names in plain objects, where "constructor" is found.
 */
function fileSystem() {
  const { FS } = python;
  const { WORKERFS } = FS.filesystems;
  const read = WORKERFS.stream_ops.read;
  const stream_ops = {
    ...WORKERFS.stream_ops,
    read(stream, buffer, offset, length, position) {
      if (stream.node.pathInDrop !== readLast) {
        readLast = stream.node.pathInDrop;
        postMessage({ kind: "reading", id: asked, file: readLast });
      }
      try {
        const count = read(stream, buffer, offset, length, position);
        bytesRead += count;
        return count;
      } catch (error) {
        // the file was changed, moved or locked since it was dropped; 29 is EIO here, which Python takes for an OSError
        throw new FS.ErrnoError(29);
      }
    },
  };
  function mount(mounted) {
    WORKERFS.reader ??= new FileReaderSync();
    const folders = new Map();
    const folder = (path) => {
      if (!folders.has(path)) {
        const cut = path.lastIndexOf("/");
        const parent = path ? folder(path.slice(0, Math.max(cut, 0))) : null;
        const node = WORKERFS.createNode(parent, path ? path.slice(cut + 1) : "/", WORKERFS.DIR_MODE, 0);
        node.contents = Object.create(null);
        folders.set(path, node);
      }
      return folders.get(path);
    };
    const root = folder("");
    for (const [path, file] of mounted.opts.files) {
      const cut = path.lastIndexOf("/");
      const parent = folder(path.slice(0, Math.max(cut, 0)));
      const modified = new Date(file.lastModified);
      const node = WORKERFS.createNode(parent, path.slice(cut + 1), WORKERFS.FILE_MODE, 0, file, modified);
      node.stream_ops = stream_ops;
      node.pathInDrop = path;
    }
    return root;
  }
  return { ...WORKERFS, mount };
}

const mounts = new Set();
let system;

/** Give a drop a folder of its own, where its files are. */
function place(drop, files) {
  const folder = `/drops/${drop}`;
  if (!mounts.has(folder)) {
    python.FS.mkdirTree(folder);
    python.FS.mount(system, { files }, folder);
    mounts.add(folder);
  }
  return folder;
}

/** Python as it was when this folder was built, with the modules of the wheel in its memory; or started from nothing. */
async function launch(versions) {
  const { loadPyodide } = await import(new URL("pyodide.mjs", here).href);
  // nothing is kept from one visit to the next, so compiled modules are not written; the same words as in snapshot.mjs
  const env = { HOME: "/home/pyodide", PYTHONDONTWRITEBYTECODE: "1" };
  const options = { indexURL: here.href, env };
  if (versions.snapshot && self.DecompressionStream) {
    try {
      const packed = (await fetched(versions.snapshot)).body;
      const memory = await new Response(packed.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
      return { python: await loadPyodide({ ...options, _loadSnapshot: new Uint8Array(memory) }), whole: true };
    } catch (error) {
      console.debug(`starting without the snapshot: ${error.message}`);
    }
  }
  return { python: await loadPyodide(options), whole: false };
}

async function start() {
  const versions = await (await fetched("versions.json")).json();
  const wheel = fetched(versions.wheel).then((response) => response.arrayBuffer());
  const bridge = fetched("bridge.py").then((response) => response.text());
  const launched = await launch(versions);
  python = launched.python;
  const alone = performance.now() - started;
  // the memory holds what was imported; files of modules that are imported later are not in it
  python.unpackArchive(await wheel, "wheel");
  if (!launched.whole) python.runPython(await bridge);
  answer = python.globals.get("answer");
  PythonError = python.ffi.PythonError; // which cannot be asked for any more once Python has ended
  system = fileSystem();
  const about = { ...versions, ...python.globals.get("about")().toJs({ dict_converter: Object.fromEntries }) };
  postMessage({ kind: "ready", about, alone, whole: performance.now() - started, snapshot: launched.whole });
}

/** The last line of a Python traceback names what happened. */
function lastLine(error) {
  return String(error.message ?? error).trim().split("\n").at(-1);
}

function run({ id, drop, files, words }) {
  bytesRead = 0;
  readLast = "";
  asked = id;
  const began = performance.now();
  try {
    const folder = place(drop, files);
    const told = answer(folder, words).toJs({ dict_converter: Object.fromEntries });
    postMessage({ kind: "answer", id, ...told, bytesRead, seconds: (performance.now() - began) / 1000 });
  } catch (error) {
    // what Python raised leaves it whole; anything else ends this worker
    const kind = error instanceof PythonError ? "failed" : "ended";
    postMessage({ kind, id, what: lastLine(error), file: readLast });
  }
}

const ready = start().catch((error) => postMessage({ kind: "ended", what: lastLine(error) }));
onmessage = async ({ data }) => {
  await ready;
  run(data);
};
