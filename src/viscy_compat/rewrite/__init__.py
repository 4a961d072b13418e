"""Writing: a plan and a checkpoint become a new file, whole or not at all."""
