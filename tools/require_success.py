"""Fail unless every job that this one needs has succeeded: skipped, cancelled and failed ones do not count as a pass.

    NEEDS='{"static": {"result": "success"}}' python tools/dev.py require-success

NEEDS is what GitHub's ``toJSON(needs)`` gives.
"""

from __future__ import annotations

import json
import os
import sys


def unsuccessful(needs: str) -> list[str]:
    """Return what stands in the way, a line each.

    Examples
    --------
    >>> unsuccessful('{"a": {"result": "success"}, "b": {"result": "skipped"}}')
    ['b: skipped']
    >>> unsuccessful("{}"), unsuccessful("")
    (['no job was needed'], ['NEEDS is no JSON object'])
    """
    try:
        jobs = json.loads(needs)
    except ValueError:
        jobs = None
    if not isinstance(jobs, dict):
        return ["NEEDS is no JSON object"]
    results = {name: job.get("result") if isinstance(job, dict) else None for name, job in jobs.items()}
    return [f"{name}: {result}" for name, result in results.items() if result != "success"] or (
        [] if results else ["no job was needed"]
    )


def main(needs: str) -> int:
    """Print what stands in the way; 0 where nothing does."""
    found = unsuccessful(needs)
    print("\n".join(found) or "every job succeeded")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(os.environ.get("NEEDS", "")))
