"""Many checkpoints at once: list them, judge them on every core or a cluster, keep a ledger, sum it up. This is `audit`."""
