"""The styles of pages and notebooks: everything below one class, so that a notebook around it keeps its own look.

The colours of what holds, what a remap cures, what fails and what is not known are bluish green, blue, vermilion and
ochre: people who do not see red and green alike tell them apart, and each has a sign besides. Every one of them has a
contrast of at least 4.5 to 1 on its paper.
"""

SIGNS = {
    "holds": "\u2713",
    "findings": "\u2717",
    "undecided": "?",
    "compatible": "\u2713",
    "remappable": "\u21bb",
    "incompatible": "\u2717",
    "unknown": "?",
    "unreadable": "!",
    "damaged": "!",
    "waived": "~",
    "left out": "\u25cb",
    "ready": "\u2713",
    "stopped": "\u25cb",
    "written": "\u2713",
    "planned": "\u2713",
    "refused": "\u2717",
    "changed": "?",
}
"""What stands before a word for those who see no colours."""

KINDS = {
    "compatible": "holds",
    "remappable": "cured",
    "incompatible": "findings",
    "unknown": "undecided",
    "unreadable": "findings",
    "damaged": "findings",
    "waived": "undecided",
    "left out": "undecided",
    "ready": "holds",
    "stopped": "undecided",
    "written": "holds",
    "planned": "holds",
    "refused": "findings",
    "changed": "undecided",
}
"""The colour of a verdict, where it is not that of the exit code."""

STYLES = """
html,body{margin:0}
body{background:#fff}
@media(prefers-color-scheme:dark){body{background:#14181c}}
.vc{color-scheme:light dark;--ink:#1c2126;--soft:#56616b;--paper:#fff;--line:#d0d7de;--tint:#f3f5f7;--link:#0b5394;
--holds:#00664d;--cured:#0b5394;--findings:#a8200d;--undecided:#7a5200;
background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif;
max-width:72rem;margin:0 auto;padding:1.25rem 1rem 4rem}
@media(prefers-color-scheme:dark){.vc{--ink:#e6e9ec;--soft:#a3adb7;--paper:#14181c;--line:#3a434c;--tint:#1f262d;
--link:#8fc1ff;--holds:#5fd3b0;--cured:#8fc1ff;--findings:#ff9f87;--undecided:#f0c060}}
.vc{
*{box-sizing:border-box}
header{border-left:.5rem solid;padding:.25rem 0 .25rem 1rem;margin-bottom:1.5rem}
h1{font-size:1.5rem;line-height:1.25;margin:0;color:inherit}
h2{font-size:1.1rem;line-height:1.4;margin:0;display:inline;overflow-wrap:anywhere;color:inherit}
h3{font-size:.95rem;margin:1rem 0 .25rem}
header p{margin:.35rem 0 0;color:var(--ink)}
section{border-top:1px solid var(--line);padding:.9rem 0}
section:target{background:var(--tint);outline:.5rem solid var(--tint)}
p{margin:.5rem 0}
a{color:var(--link)}
:focus-visible{outline:3px solid var(--link);outline-offset:2px}
small,footer,.soft{color:var(--soft);font-size:.875rem}
footer{border-top:1px solid var(--line);padding-top:.75rem}
code{font:.875em/1.5 ui-monospace,monospace;overflow-wrap:anywhere;background:var(--tint);border-radius:.2rem;padding:0 .2rem}
pre{margin:0;flex:1;min-width:0;white-space:pre-wrap;overflow-wrap:anywhere;background:var(--tint);border-radius:.3rem}
pre code{display:block;padding:.5rem .7rem;user-select:all}
figure.paste{margin:.6rem 0}
figcaption{font-size:.875rem;color:var(--soft)}
.paste>div{display:flex;gap:.5rem;align-items:stretch}
button,input{font:inherit;font-size:.875rem;color:var(--ink);background:var(--paper);border:1px solid var(--soft);
border-radius:.3rem;padding:.25rem .7rem}
button{cursor:pointer;min-width:5rem}
input{width:min(22rem,100%);margin:.25rem .5rem .25rem 0}
ul{padding-left:1.25rem;margin:.5rem 0}
li{margin:.5rem 0;overflow-wrap:anywhere}
ul.tree,ul.tree ul{list-style:none;padding-left:1.1rem;margin:.1rem 0}
ul.tree li{margin:.1rem 0;font-size:.875rem}
details{margin:.5rem 0}
ul.tree details{margin:0}
summary{cursor:pointer;padding:.2rem 0}
.wide{overflow-x:auto;max-width:100%;margin:.5rem 0 1rem}
table{border-collapse:collapse;font-size:.875rem}
caption{text-align:left;font-weight:600;padding:.25rem 0}
th,td{border:1px solid var(--line);padding:.3rem .55rem;text-align:left;vertical-align:top;overflow-wrap:break-word}
thead th{background:var(--tint);font-weight:600}
tbody th{font-weight:400;min-width:min(9rem,38vw)}
dl{display:grid;grid-template-columns:minmax(7rem,max-content) 1fr;gap:.2rem 1rem;font-size:.875rem;margin:.5rem 0}
dt{color:var(--soft);overflow-wrap:anywhere}
dd{margin:0;overflow-wrap:anywhere}
.holds{color:var(--holds)}
.cured{color:var(--cured)}
.findings{color:var(--findings)}
.undecided{color:var(--undecided)}
.mark{font-weight:600;white-space:nowrap}
svg{display:block;max-width:100%;height:auto}
.maps{display:flex;flex-wrap:wrap;gap:1rem}
.maps .wide{flex:1 1 24rem;min-width:0}
svg text{fill:var(--ink);font:11px system-ui,sans-serif}
}
@media(max-width:40rem){.vc{
dl{grid-template-columns:1fr;gap:0}
dd{margin-bottom:.4rem}
h1{font-size:1.25rem}
.paste>div{flex-direction:column}
.matrix .word{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.matrix thead th:not(:first-child){writing-mode:vertical-rl;padding:.5rem .3rem}
.matrix td,.matrix th{padding:.3rem .28rem;min-width:0}
}}
@media print{.vc{max-width:none;padding:0;
button,input{display:none}
details::details-content{content-visibility:visible;display:block;height:auto;opacity:1}
details>*{display:block}
section,tr,figure{break-inside:avoid}
.wide{overflow:visible}
a{color:inherit;text-decoration:none}
}}
""".strip()
