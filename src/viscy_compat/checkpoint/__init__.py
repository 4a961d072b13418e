"""Bytes to facts: reads any checkpoint with the standard library alone, and executes nothing in it."""
