"""One file per class: everything that is known about it. `find` and `known` are the way in."""
