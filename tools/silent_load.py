"""Show the silent wrong load: a v0.2 checkpoint, loaded with ``strict=False`` as people do today, beside `load_model`.

    python3 tools/silent_load.py older.ckpt

Both models get the same seeded input. The first half of the network is right either way; the projection is not.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import torch

from viscy_compat import load_model
from viscy_models import ContrastiveEncoder

CONFIG: dict[str, Any] = {"backbone": "convnext_tiny", "in_channels": 2, "in_stack_depth": 15, "stem_stride": (5, 4, 4)}


def loaded_as_people_do(path: str) -> ContrastiveEncoder:
    """Load what fits, and say what was passed over; torch says nothing by itself."""
    torch.manual_seed(17)  # nobody loads with the seed that the weights were drawn with, as this demo would
    model = ContrastiveEncoder(**CONFIG, projection_dim=256)
    stored = torch.load(path, weights_only=True)["state_dict"]
    told = model.load_state_dict({name.removeprefix("model."): one for name, one in stored.items()}, strict=False)
    print("load_state_dict(..., strict=False): no error")
    print(f"  never read   {', '.join(told.unexpected_keys)}")
    print(f"  left random  {', '.join(name for name in told.missing_keys if name.endswith(('weight', 'bias')))}")
    return model.eval()


def main() -> None:
    """Load twice, and compare what comes out."""
    if len(sys.argv) != 2:
        print("usage: python3 tools/silent_load.py older.ckpt (the demo makes that file)", file=sys.stderr)
        sys.exit(2)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    wrong, right = loaded_as_people_do(sys.argv[1]), load_model(sys.argv[1], config=CONFIG)
    with torch.inference_mode():
        fed = torch.randn(8, 2, 15, 64, 64, generator=torch.Generator().manual_seed(0))
        (embedding, mine), (true_embedding, true) = wrong(fed), right(fed)
    print(f"  embedding    {'equal' if torch.equal(embedding, true_embedding) else 'other numbers'}")
    print(f"  projection   cosine with the true one {torch.cosine_similarity(mine, true).mean():.2f}")


if __name__ == "__main__":
    main()
