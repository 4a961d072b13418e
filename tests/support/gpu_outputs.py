"""What an H100 gave in five precisions, and the models and inputs that it was given.

``tests/gpu_outputs/CLASS.safetensors`` holds ``MODE/OUTPUT``: torch 2.11.0+cu130, cuDNN 9.19, timm 1.0.31, MONAI 1.6.1,
2026-11-27. Weights and inputs are drawn from seeds: the same bytes came out on three machines. `tools/measure_gpu.py`
writes such files anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "gpu_outputs"

CASES: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "ContrastiveEncoder": (
        {"backbone": "convnext_tiny", "in_channels": 2, "in_stack_depth": 15},
        (2, 2, 15, 96, 96),
    ),
    "ResNet3dEncoder": ({"backbone": "resnet18"}, (2, 1, 16, 48, 48)),
    "Unet25d": ({"in_channels": 1, "out_channels": 1, "in_stack_depth": 5, "out_stack_depth": 1}, (2, 1, 5, 64, 64)),
}
"""Constructor arguments, and the shape of the input."""

MODES = {"fp32": "float32", "default": "tf32", "high": "tf32-all", "16-mixed": "float16", "bf16-mixed": "bfloat16"}
"""What the files call a mode, and what the product calls it."""


def seeded_model(name: str, **changes: Any) -> Any:
    """Build a class with weights of which no two are alike, in eval mode."""
    import torch

    import viscy_models

    torch.manual_seed(5)
    model = getattr(viscy_models, name)(**CASES[name][0], **changes)
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for key, buffer in model.named_buffers():
            if key.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=draw) * 0.1)
            elif key.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=draw) + 0.5)
        for key, weight in model.named_parameters():
            if weight.ndim != 1:
                continue
            drawn = torch.randn(weight.shape, generator=draw)
            if key.endswith("gamma"):
                weight.copy_(drawn * 0.2)
            else:
                weight.add_(drawn * 0.05)
    return model.eval()


def seeded_input(name: str) -> Any:
    """Draw the input, (B, C, D, H, W)."""
    import torch

    return torch.randn(CASES[name][1], generator=torch.Generator().manual_seed(3))


def recorded(name: str, mode: str) -> dict[str, Any]:
    """Return the outputs of the H100, by name."""
    from safetensors.torch import load_file

    tensors = load_file(FOLDER / f"{name}.safetensors")
    return {key.partition("/")[2]: value for key, value in tensors.items() if key.startswith(f"{mode}/")}
