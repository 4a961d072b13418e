"""What a page does by itself: copies what is to be pasted, filters long tables, unfolds everything before it is printed.

The page is whole without it, and its policy lets the reader's browser run nothing else: the script is named there by its
digest.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

SCRIPT = """
"use strict";
for (const code of document.querySelectorAll(".paste code")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy: " + code.textContent.slice(0, 60));
  button.addEventListener("click", () => copy(code, button));
  code.parentElement.after(button);
}
function copy(code, button) {
  const done = () => {
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };
  const byHand = () => {
    getSelection().selectAllChildren(code);
    if (document.execCommand("copy")) done();
  };
  if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(done, byHand);
  else byHand();
}
for (const table of document.querySelectorAll("table.long")) {
  const field = document.createElement("input");
  const count = document.createElement("span");
  const rows = [...table.tBodies[0].rows];
  const words = rows.map(row => row.textContent.toLowerCase());
  field.type = "search";
  field.placeholder = "Filter " + rows.length + " rows";
  field.setAttribute("aria-label", "Filter rows of " + (table.caption ? table.caption.textContent : "the table"));
  count.setAttribute("role", "status");
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase().split(" ").filter(Boolean);
    let shown = 0;
    rows.forEach((row, place) => {
      row.hidden = !wanted.every(word => words[place].includes(word));
      shown += row.hidden ? 0 : 1;
    });
    count.textContent = wanted.length ? " " + shown + " of " + rows.length : "";
  });
  table.parentElement.before(field, count);
}
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});
""".strip()


def policy() -> str:
    """Return the content security policy of a page: its own styles, this script, and nothing from elsewhere."""
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src '{policy_digest(SCRIPT)}'"


def policy_digest(text: str) -> str:
    """Return what a content security policy calls an inline script or style that it allows.

    Examples
    --------
    >>> policy_digest("")
    'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
    """
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
