"""The old code: taken out of a clone or of a released wheel, and told apart by its git blob ids."""
