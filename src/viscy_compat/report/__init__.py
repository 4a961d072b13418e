"""Renderers: a report becomes text, one file for each format."""
