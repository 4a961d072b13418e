"""Processes that build models: the program that they run, and the parent that starts, isolates and limits them."""
