"""The old code: where it is had from, and what was recorded about it."""
