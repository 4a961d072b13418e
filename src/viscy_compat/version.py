"""The version of this package, in a module that imports nothing: reports and records quote it."""

__version__ = "0.1.0"
