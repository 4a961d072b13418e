"""Renames that nobody wrote down: which tensor of one layout is which of another, by names, shapes and order alone."""
