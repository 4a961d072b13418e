"""One engine over all cases of remap_accuracy: reads cases as JSON lines, writes one answer a line.

Standalone, so that rivals run in an environment of their own. Each tensor's elements are its number in the file; an
answer maps target names to numbers, or says why there is none.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

Case = dict[str, Any]
Rows = list[tuple[str, tuple[int, ...], str]]


def ours(case: Case) -> dict[str, int]:
    """Run viscy_compat.matching.renames."""
    from viscy_compat.layout import TensorSpec
    from viscy_compat.matching.renames import find_renames

    def layout(rows: Rows) -> dict[str, TensorSpec]:
        return {name: TensorSpec(tuple(shape), dtype) for name, shape, dtype in rows}

    numbers = {name: number for number, (name, _, _) in enumerate(case["source"])}
    answer = find_renames(layout(case["source"]), layout(case["target"]))
    return {pair.target: numbers[pair.source] for pair in answer.matches}


def weightbridge(case: Case) -> dict[str, int]:
    """Run weightbridge on arrays that hold their number."""
    import numpy
    import weightbridge as bridge

    def arrays(rows: Rows) -> dict[str, Any]:
        return {name: numpy.broadcast_to(numpy.float64(number), shape) for number, (name, shape, _) in enumerate(rows)}

    result = bridge.adapt(
        arrays(case["source"]),
        arrays(case["target"]),
        ignore_unmatched_inputs=bool(case["extra"]),
    )
    return {
        name: int(numpy.asarray(array).reshape(-1)[0]) for name, array in result.items() if numpy.asarray(array).size
    }


def timm_zip(case: Case) -> dict[str, int]:
    """Run timm's zip by order on tensors that hold their number."""
    import torch
    from timm.models._helpers import remap_state_dict

    def tensors(rows: Rows) -> dict[str, torch.Tensor]:
        return {name: torch.tensor(float(number)).expand(shape) for number, (name, shape, _) in enumerate(rows)}

    class Target:
        def state_dict(self) -> dict[str, torch.Tensor]:
            return tensors(case["target"])

    model: Any = Target()
    result = remap_state_dict(tensors(case["source"]), model)
    return {name: int(tensor.reshape(-1)[0].item()) for name, tensor in result.items() if tensor.numel()}


ENGINES: dict[str, Callable[[Case], dict[str, int]]] = {
    "ours": ours,
    "weightbridge": weightbridge,
    "timm remap_state_dict": timm_zip,
}


def peak_memory() -> float:
    """Return the peak memory of this program in MB; getrusage would count the parent that it was forked from."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def main() -> None:
    """Answer every line of standard input."""
    engine = ENGINES[sys.argv[1]]
    out, sys.stdout = sys.stdout, sys.stderr
    engine({"source": [("a", (2,), "float32")], "target": [("a", (2,), "float32")], "extra": []})
    for line in sys.stdin:
        started = time.perf_counter()
        try:
            answer: Case = {"pairs": engine(json.loads(line))}
        except Exception as error:  # noqa: BLE001 - a rival may fail in any way; the failure is the result
            answer = {"error": f"{type(error).__name__}: {error}"[:200]}
        answer["seconds"] = time.perf_counter() - started
        answer["megabytes"] = peak_memory()
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
