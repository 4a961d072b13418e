// Run by tools/build_try.py with node: starts Python with the wheel as the page would, and keeps its memory, so that a browser
// has it without starting it. Words: the folder of the page, the names of the wheel and of the file to write.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const [folder, wheel, target] = process.argv.slice(2);
const { loadPyodide } = await import(join(folder, "pyodide.mjs"));
// the same words as in worker.js
const env = { HOME: "/home/pyodide", PYTHONDONTWRITEBYTECODE: "1" };
const python = await loadPyodide({ indexURL: `${folder}/`, env, _makeSnapshot: true });
python.unpackArchive(new Uint8Array(readFileSync(join(folder, wheel))), "wheel");
python.runPython(readFileSync(join(folder, "bridge.py"), "utf8"));
python.runPython("about()");
writeFileSync(join(folder, target), gzipSync(python.makeMemorySnapshot()));
