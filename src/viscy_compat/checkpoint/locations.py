"""Names of files that are addresses: which they are, and what of them may be printed."""

from __future__ import annotations

from typing import Final

SCHEMES: Final = ("https://", "http://", "hf://", "s3://")
"""Addresses that are read over the network."""


def is_address(path: str) -> bool:
    """Say whether a path is an address that is read over the network.

    Examples
    --------
    >>> is_address("s3://bucket/a.ckpt"), is_address("a.ckpt"), is_address("gs://bucket/a.ckpt")
    (True, False, False)
    """
    return path.startswith(SCHEMES)


def without_secrets(path: str) -> str:
    """Return an address without what may be a credential: user and password, the query, the fragment.

    Examples
    --------
    >>> without_secrets("https://me:secret@host/a.ckpt?X-Amz-Signature=1"), without_secrets("a?b.ckpt")
    ('https://host/a.ckpt', 'a?b.ckpt')
    """
    if not is_address(path):
        return path
    scheme, _, rest = path.partition("://")
    rest = rest.partition("?")[0].partition("#")[0]
    host, slash, name = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{name}"
