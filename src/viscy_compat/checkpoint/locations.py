"""Names of files that are addresses: which they are, and what of them may be printed."""

from __future__ import annotations

from viscy_compat.annotations import Final

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


_full: dict[str, str] = {}
"""Addresses without their secrets to those that were given, so that a file can be opened once more."""


def public_name(path: str) -> str:
    """Return what a path is called from here on: an address without its secrets, which are kept aside.

    Examples
    --------
    >>> public_name("https://me:secret@host/b.ckpt"), full_address("https://host/b.ckpt")
    ('https://host/b.ckpt', 'https://me:secret@host/b.ckpt')
    """
    if not is_address(path):
        return path
    public = without_secrets(path)
    if public != path:
        _full[public] = path
    return public


def full_address(path: str) -> str:
    """Return the address that was given under a public name."""
    return _full.get(path, path)


def name_of(address: str) -> str:
    """Return the name of the file that an address leads to.

    Examples
    --------
    >>> name_of("https://host/a/b.ckpt"), name_of("hf://org/repo/b.ckpt@v1")
    ('b.ckpt', 'b.ckpt')
    """
    name = without_secrets(address).rstrip("/").rpartition("/")[2]
    return name.rpartition("@")[0] or name if address.startswith("hf://") else name


def beside_address(address: str, name: str) -> str:
    """Return the address of another file of the same folder and, on the hub, of the same revision.

    Examples
    --------
    >>> beside_address("hf://org/repo/a.json@v1", "b.safetensors"), beside_address("s3://bucket/a.json", "b")
    ('hf://org/repo/b.safetensors@v1', 's3://bucket/b')
    """
    folder, _, last = address.rpartition("/")
    _, at, revision = last.rpartition("@") if address.startswith("hf://") else ("", "", "")
    return f"{folder}/{name}{at}{revision if at else ''}"


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
