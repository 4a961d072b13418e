"""The program that a worker runs: builds models and says what they do. See `loop` for what can be asked of it.

The folder is run by any interpreter that has torch, timm, monai and safetensors (``python -I program``), and imports
nothing else of this project, so it keeps to the syntax of Python 3.9.

Everything is deterministic: the weights are filled from the names of the tensors, inputs from their shapes, and the
seed is set right before every forward pass.
"""
