"""Hunting for shapes that break: laws, and the cases that hypothesis draws for them."""
