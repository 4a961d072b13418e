"""Old and new code, each in a worker of its own, and the comparison of what they report."""
