"""Names of files that are addresses: which they are, and what of them may be printed."""

from __future__ import annotations

from viscy_compat.annotations import Final, Iterable

SCHEMES: Final = ("https://", "http://", "hf://", "s3://")
"""Addresses that are read over the network."""


def is_address(path: str) -> bool:
    """Say whether a path is an address that is read over the network.

    Examples
    --------
    >>> is_address("s3://bucket/a.ckpt"), is_address("a.ckpt"), is_address("gs://bucket/a.ckpt"), is_address("S3://b/a")
    (True, False, False, True)
    """
    return path.startswith(SCHEMES) or path[:8].lower().startswith(SCHEMES)


_OF_A_SCHEME: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-")

_full: dict[str, str] = {}
"""Addresses without their secrets to those that were given, so that a file can be opened once more."""


def public_name(path: str) -> str:
    """Return what a path is called from here on: an address without its secrets, which are kept aside.

    Examples
    --------
    >>> public_name("https://me:secret@host/b.ckpt"), full_address("https://host/b.ckpt")
    ('https://host/b.ckpt', 'https://me:secret@host/b.ckpt')
    """
    name = public = without_secrets(path)
    if path in _full or (public == path and not is_address(path)):
        return path
    # two files may differ in what is hidden alone (download?id=1, download?id=2), and one must not be read for the other
    count = 1
    while _full.setdefault(name, path) != path:
        count += 1
        name = f"{public}#{count}"
    return name


def know_plain(words: Iterable[str]) -> None:
    """Note that addresses without a secret are meant as they stand, as they are among the words of a command.

    Elsewhere such a one may be the public name of another that was opened before; known first, it stays its own.

    Examples
    --------
    >>> know_plain(["https://host/plain.ckpt", "check"])
    >>> public_name("https://host/plain.ckpt?id=1"), public_name("https://host/plain.ckpt")
    ('https://host/plain.ckpt#2', 'https://host/plain.ckpt')
    """
    _full.update({word: word for word in words if is_address(word) and without_secrets(word) == word})


def full_address(path: str) -> str:
    """Return the address that was given under a public name."""
    return _full.get(path, path)


def key_and_query(rest: str) -> tuple[str, str]:
    """Cut the query off an address of S3; a key may hold marks as a query has them.

    Examples
    --------
    >>> key_and_query("bucket/what?.ckpt"), key_and_query("bucket/a#1.ckpt?versionId=x")
    (('bucket/what?.ckpt', ''), ('bucket/a#1.ckpt', 'versionId=x'))
    """
    key, _, query = rest.rpartition("?")
    return (key, query) if "=" in query and key else (rest, "")


def name_of(address: str) -> str:
    """Return the name of the file that an address leads to.

    Examples
    --------
    >>> name_of("https://host/a/b.ckpt"), name_of("hf://org/repo/b.ckpt@v1")
    ('b.ckpt', 'b.ckpt')
    """
    address = without_secrets(address)
    name = address.rstrip("/").rpartition("/")[2]
    return name.rpartition("@")[0] or name if address.startswith("hf://") else name


def beside_address(address: str, name: str) -> str:
    """Return the address of another file of the same folder and, on the hub, of the same revision.

    What the one was opened with, the other is opened with too: user, password and query.

    Examples
    --------
    >>> beside_address("hf://org/repo/a.json@v1", "b.safetensors"), beside_address("s3://bucket/a.json", "b")
    ('hf://org/repo/b.safetensors@v1', 's3://bucket/b')
    """
    last = address.rpartition("/")[2]
    if address.startswith("hf://"):
        last = last.rpartition("@")[0] or last
    last = last.partition("#")[0]
    front, _, back = full_address(address).rpartition(last)
    return public_name(f"{front}{name}{back}")


def without_secrets(path: str) -> str:
    """Return an address without what may be a credential: user and password, the query, the fragment.

    Examples
    --------
    >>> without_secrets("https://me:secret@host/a.ckpt?X-Amz-Signature=1"), without_secrets("a?b.ckpt")
    ('https://host/a.ckpt', 'a?b.ckpt')

    What is no address of a kind that is read may hold them as well, and so may one whose password was not escaped:

    >>> without_secrets("ftp://me:secret@host/a.ckpt"), without_secrets("HTTPS://me:sec/ret@host/a.ckpt")
    ('ftp://host/a.ckpt', 'https://host/a.ckpt')
    """
    scheme, mark, rest = path.partition("://")
    # one letter alone is a drive of Windows
    if len(scheme) < 2 or not mark or not scheme[0].isalpha() or not set(scheme) <= _OF_A_SCHEME:
        return path
    # what follows a user is a password, or else the number of a port; in one that was not escaped a host does not end
    host = rest.replace("?", "/").replace("#", "/").partition("/")[0]
    port = "" if host.startswith("[") else host.partition(":")[2]
    if "@" in rest and "@" not in host and port and not port.isdigit():
        rest = rest.rpartition("@")[2]
    rest = key_and_query(rest)[0] if scheme.lower() == "s3" else rest.partition("?")[0].partition("#")[0]
    host, slash, name = rest.partition("/")
    return f"{scheme.lower()}://{host.rpartition('@')[2]}{slash}{name}"
