"""One file per command: the library call, then the renderer."""
