"""What was recorded of classes: reading and writing references, recording, and comparing a candidate with them."""
