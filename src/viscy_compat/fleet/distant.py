"""The checkpoints below an address that ends with a slash: of a bucket of S3, or of a repository of the hub."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from viscy_compat.checkpoint.locations import without_secrets
from viscy_compat.checkpoint.transports import settings_of_s3
from viscy_compat.diagnosis.folder_walk import SUFFIXES, natural
from viscy_compat.errors import UsageError, lacking
from viscy_compat.findings import Aside
from viscy_compat.fleet.target import Target


def objects_below(address: str, aside: list[Aside]) -> Iterator[Target]:
    """Yield the checkpoints below an address in natural order; where there is none, `aside` says so.

    Raises
    ------
    UsageError
        Where the server does not list them.
    MissingExtra
        Where the extra of this kind of address is not installed.
    """
    address = without_secrets(address)
    scheme = address.partition("://")[0]
    names = _names_in_bucket(address) if scheme == "s3" else _names_in_repository(address)
    checkpoints = [name for name in names if name.lower().endswith(SUFFIXES)]
    if not checkpoints:
        aside.append(Aside(address, "no checkpoint below this address"))
    yield from (Target(f"{scheme}://{name}", named=False) for name in sorted(checkpoints, key=natural))


def _names_in_bucket(address: str) -> list[str]:
    try:
        import s3fs
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
    except ImportError as error:
        raise lacking("s3://", error.name, "s3") from error
    system: Any = s3fs.S3FileSystem

    def names_for(*, anon: bool) -> list[str]:
        files = system(anon=anon, config_kwargs=settings_of_s3())
        # botocore tries again by itself, and five times five tries are minutes
        files.retries = 1
        return list(files.find(address))

    try:
        try:
            names = names_for(anon=False)
        # without credentials a bucket may still be public
        except NoCredentialsError:
            names = names_for(anon=True)
    except (OSError, ValueError, BotoCoreError, ClientError) as error:
        raise _unlisted(address, error) from error
    return names


def _names_in_repository(address: str) -> list[str]:
    try:
        from huggingface_hub import HfFileSystem
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise lacking("hf://", error.name, "hub") from error
    system: Any = HfFileSystem
    # the library that the hub is asked with has been another one before: its errors are those that this one is made of
    problems: tuple[type[Exception], ...] = (OSError, ValueError, NotImplementedError, *HfHubHTTPError.__bases__)
    try:
        return list(system().find(address))
    except problems as error:
        raise _unlisted(address, error) from error


def _unlisted(address: str, error: Exception) -> UsageError:
    """Return what an error means; its own words may hold credentials."""
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    why = f"the server answers {status}" if status else getattr(error, "strerror", None) or type(error).__name__
    if isinstance(error, (FileNotFoundError, PermissionError)):
        why = "there is none" if isinstance(error, FileNotFoundError) else "it may not be read"
    return UsageError(f"it cannot be listed ({why})", where=address, fix="check the address and the credentials")
