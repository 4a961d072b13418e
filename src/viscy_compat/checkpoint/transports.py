"""How ranges of a file come over the network: HTTP (the hub too) and S3, in the loop and with the settings of fsspec."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Coroutine
from typing import Any, Final, NoReturn, Protocol

from viscy_compat.checkpoint.byte_source import changed_file
from viscy_compat.checkpoint.locations import key_and_query
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.named import NamedTuple

_CONNECT: Final = 10.0
"""Seconds for a connection; a request as a whole has those of `seconds_of_patience`."""
_TRIES: Final = 3
_PAUSE: Final = 1.0
"""A server that is busy (429, 5xx) is asked again, after a second and after two."""
_BUSY: Final = frozenset((429, 500, 502, 503, 504))
_HOPS: Final = 5
"""Redirections in a row: the hub has one or two."""
_RANGE: Final = re.compile("bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")
_EMPTY: Final = re.compile(r"bytes \*/([0-9]{1,19})")
"""What a server answers (416) where a range of an empty file is asked for."""


class Piece(NamedTuple):
    """A range of a file as a server gave it: where it begins, how large the file is, and which version it is."""

    data: bytes
    start: int
    total: int
    version: str


class Transport(Protocol):
    """Something that asks for ranges of one file."""

    def piece(self, start: int, length: int, version: str) -> Piece:
        """Return a range; `version` is what an earlier answer said, or empty."""


def transport_for(address: str, shown: str) -> Transport:
    """Return the transport of an address, and what it is called in messages.

    Raises
    ------
    UnreadableCheckpoint
        VC362 for an address that names no file; VC401 where its packages are not installed.
    """
    scheme, mark, rest = address.partition("://")
    address = f"{scheme.lower()}{mark}{rest}"
    if address.startswith("s3://"):
        return _S3(address, shown)
    if address.startswith("hf://"):
        return _hub(address, shown)
    if address.startswith("https://huggingface.co/"):
        # what people copy from their browser is the page about a file
        address = address.replace("/blob/", "/resolve/", 1)
    return _Http(address, shown=shown)


def seconds_of_patience() -> float:
    """Return how long one request may take: ``$VISCY_COMPAT_TIMEOUT``, else half a minute."""
    try:
        return min(max(float(os.environ.get("VISCY_COMPAT_TIMEOUT", "30")), 0.1), 3600.0)
    except ValueError:
        return 30.0


# --- HTTP -------------------------------------------------------------------------------------------------------------


class _Http:
    """Ranges by HTTP. After a redirection the place that it led to is asked, until that no longer answers."""

    def __init__(self, address: str, headers: dict[str, str] | None = None, *, shown: str) -> None:
        try:
            import aiohttp
            import fsspec
        except ImportError as error:
            raise _lacking(shown, error, "remote") from error
        self._aiohttp: Any = aiohttp
        self._files = fsspec.filesystem("https", client_kwargs={"trust_env": True})
        self._address, self._headers = address, headers or {}
        self._place, self._is_at_home = address, True
        self._where = shown

    def piece(self, start: int, length: int, version: str) -> Piece:
        """Return a range; see `Transport.piece`."""
        try:
            return _wait_for(self._files.loop, self._piece(start, length, version), self._where)
        except self._aiohttp.ClientError as error:
            raise _unanswered(self._where, _cause(error)) from error
        # names of hosts that no resolver is asked for
        except UnicodeError as error:
            raise _unanswered(self._where, "no host can have this name") from error

    async def _piece(self, start: int, length: int, version: str) -> Piece:
        for attempt in range(_TRIES):
            headers = self._headers if self._is_at_home else {}
            piece = await self._ask(self._place, headers, start, length, version)
            if piece is not None:
                return piece
            if self._place != self._address:
                # what a redirection led to may have expired: the first address gives a new one
                self._place, self._is_at_home = self._address, True
            else:
                await asyncio.sleep(_PAUSE * (attempt + 1))
        raise _unanswered(self._where, "the server is busy")

    async def _ask(self, place: str, headers: dict[str, str], start: int, length: int, version: str) -> Piece | None:
        """Return an answer; None where another try may have one."""
        wanted_headers = {**headers, "Range": f"bytes={start}-{start + length - 1}", "Accept-Encoding": "identity"}
        if version.startswith('"'):
            wanted_headers["If-Match"] = version
        session = await self._files.set_session()
        limit = self._aiohttp.ClientTimeout(total=seconds_of_patience(), connect=_CONNECT)
        async with session.get(place, headers=wanted_headers, timeout=limit, max_redirects=_HOPS) as answer:
            # everybody on the way from https to http could read and change it
            if self._address.startswith("https://") and answer.url.scheme != "https":
                raise UnreadableCheckpoint(
                    "the address leads from https to http",
                    where=self._where,
                    fix="ask its owner for one that stays on https",
                    code="VC362",
                )
            if answer.status in _BUSY or (answer.status in (401, 403, 410) and place != self._address):
                return None
            if answer.history:
                self._move(answer.url)
            return await self._piece_of(answer, length, version)

    def _move(self, place: Any) -> None:
        """Ask at another place from here on; on the same host as before, under the same name."""
        first = type(place)(self._address)
        self._is_at_home = place.origin() == first.origin()
        if self._is_at_home and first.user is not None:
            place = place.with_user(first.user).with_password(first.password)
        self._place = str(place)

    async def _piece_of(self, answer: Any, length: int, version: str) -> Piece:
        status, headers = answer.status, answer.headers
        # behind a redirection each server has marks of its own; those of the first one decide
        mark = headers.get("ETag") or headers.get("Last-Modified", "")
        if status == 412:
            raise changed_file(self._where)
        if status == 416 and (empty := _EMPTY.fullmatch(headers.get("Content-Range", ""))):
            return Piece(b"", 0, int(empty[1]), version or mark)
        if status == 200:
            return await self._whole(answer, length, mark)
        if status != 206:
            _refuse(self._where, status)
        if headers.get("Content-Encoding", "identity") != "identity":
            raise _lie(self._where, "its answer is compressed, which was not asked for")
        first, last, total = _range_of(headers.get("Content-Range", ""), self._where)
        data = await _body(answer.content.read, min(length, last - first + 1), self._where)
        return Piece(data, first, total, mark)

    async def _whole(self, answer: Any, length: int, mark: str) -> Piece:
        """Return a file that was given as a whole, where it is no longer than the part that was asked for."""
        size = answer.content_length
        if size is None or size > length:
            raise UnreadableCheckpoint(
                "the server gives no parts of files (it does not know the header Range)",
                where=self._where,
                fix=f"fetch the file first: curl -L -O {self._where}",
                code="VC363",
            )
        return Piece(await _body(answer.content.read, size, self._where), 0, size, mark)


def _range_of(text: str, where: str) -> tuple[int, int, int]:
    """Return first byte, last byte and size of the file, as an answer states them."""
    row = _RANGE.fullmatch(text)
    first, last, total = map(int, row.groups()) if row else (0, 0, 0)
    if not first <= last < total:
        raise _lie(where, "it does not say which part of the file its answer is")
    return first, last, total


async def _body(read: Any, length: int, where: str) -> bytes:
    """Return the body of an answer by its way to read on: as many bytes as it says, and no more than were asked for."""
    parts, left = [], length
    # a byte more is asked for than there should be: one that comes is a lie
    while left >= 0 and (part := await read(min(left + 1, 1 << 20))):
        parts.append(part)
        left -= len(part)
    if left:
        more = "fewer" if left > 0 else "more"
        raise _lie(where, f"its answer has {more} than the {length} bytes that it states")
    return b"".join(parts)


def _cause(error: Exception) -> str:
    """Return why a connection failed, in words that hold no address: those of others hold credentials."""
    system = getattr(error, "os_error", None) or getattr(error, "__cause__", None)
    names = {
        "ClientPayloadError": "the answer broke off before the length that it states",
        "ServerDisconnectedError": "the server closed the connection",
        "TooManyRedirects": f"more than {_HOPS} redirections",
        "InvalidURL": "this is no address",
        "InvalidUrlClientError": "this is no address",
        "InvalidUrlRedirectClientError": "it leads to what is no address",
        "NonHttpUrlRedirectClientError": "it leads to another kind of address",
        "ClientResponseError": "what answers does not speak HTTP as it should",
        "ClientConnectorCertificateError": "its certificate is not one that is trusted here",
        "ClientHttpProxyError": "the proxy refuses to connect",
        "ClientConnectorDNSError": "no host of this name",
    }
    kind = type(error).__name__
    return names.get(kind) or getattr(system, "strerror", None) or kind


def _hub(address: str, where: str) -> Transport:
    """Return the transport of ``hf://ORG/REPO/FILE@REVISION`` (or ``hf://ORG/REPO@REVISION/FILE``)."""
    try:
        from huggingface_hub import get_token, hf_hub_url
    except ImportError as error:
        raise _lacking(where, error, "hub") from error
    kind, rest = None, address.removeprefix("hf://")
    for name, repo_type in (("datasets/", "dataset"), ("spaces/", "space"), ("models/", None)):
        if rest.startswith(name):
            kind, rest = repo_type, rest.removeprefix(name)
    parts = rest.split("/")
    if len(parts) < 3 or not all(parts):
        raise UnreadableCheckpoint(
            "this names no file of the hub",
            where=where,
            fix="hf://ORG/REPO/FILE, with @REVISION behind it",
            code="VC362",
        )
    owner, (repository, _, revision), path = parts[0], parts[1].partition("@"), "/".join(parts[2:])
    if not revision:
        path, _, revision = path.partition("@")
    try:
        url = hf_hub_url(f"{owner}/{repository}", path, repo_type=kind, revision=revision or "main")
    except ValueError as error:
        raise UnreadableCheckpoint(
            "no repository can have this name", where=where, fix="hf://ORG/REPO/FILE", code="VC362"
        ) from error
    token = get_token()
    return _Http(url, {"Authorization": f"Bearer {token}"} if token else {}, shown=where)


# --- S3 ---------------------------------------------------------------------------------------------------------------


def settings_of_s3() -> dict[str, Any]:
    """Return what botocore is told: how long it waits, and how often it asks."""
    patience = seconds_of_patience()
    return {
        "connect_timeout": min(_CONNECT, patience),
        "read_timeout": patience,
        "retries": {"total_max_attempts": 2},
    }


class _S3:
    """Ranges of an object, with the credentials that boto finds; without any, as anybody."""

    def __init__(self, address: str, shown: str) -> None:
        try:
            import s3fs
            from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
        except ImportError as error:
            raise _lacking(shown, error, "s3") from error
        self._errors: tuple[type[Exception], ...] = (OSError, BotoCoreError, ClientError)
        self._anonymous: type[Exception] = NoCredentialsError
        self._system: Any = s3fs.S3FileSystem
        self._where = shown
        self._settings = settings_of_s3()
        self._files = self._system(config_kwargs=self._settings)
        path, query = key_and_query(address.removeprefix("s3://"))
        self._bucket, _, self._key = path.partition("/")
        self._version = query.removeprefix("versionId=").partition("&")[0] if query.startswith("versionId=") else ""
        if not self._bucket or not self._key:
            raise UnreadableCheckpoint("this names no object", where=self._where, fix="s3://BUCKET/KEY", code="VC362")

    def piece(self, start: int, length: int, version: str) -> Piece:
        """Return a range; see `Transport.piece`."""
        try:
            try:
                return _wait_for(self._files.loop, self._piece(start, length, version), self._where, tries=1)
            # without credentials a bucket may still be public: asked once as anybody, and from then on
            except self._anonymous:
                self._files = self._system(anon=True, config_kwargs=self._settings)
                return _wait_for(self._files.loop, self._piece(start, length, version), self._where, tries=1)
        except FileNotFoundError:
            _refuse(self._where, 404)
        except PermissionError:
            _refuse(self._where, 403)
        except self._errors as error:
            raise self._problem(error) from error

    async def _piece(self, start: int, length: int, version: str) -> Piece:
        more = {"IfMatch": version} if version else {}
        if self._version:
            more["VersionId"] = self._version
        question = {"Bucket": self._bucket, "Key": self._key, "Range": f"bytes={start}-{start + length - 1}", **more}
        answer = await self._files._call_s3("get_object", **question)
        mark = answer.get("ETag", "")
        async with answer["Body"] as body:
            first, last, total = _range_of(answer.get("ContentRange", ""), self._where)
            data = await _body(body.read, min(length, last - first + 1), self._where)
        return Piece(data, first, total, mark)

    def _problem(self, error: Exception) -> UnreadableCheckpoint:
        """Return what an error of boto means; its words may hold the address of a service, and no secret is printed."""
        response = getattr(error, "response", None) or getattr(error.__cause__, "response", None) or {}
        code = str(response.get("Error", {}).get("Code", ""))
        if code in ("PreconditionFailed", "412"):
            return changed_file(self._where)
        if code in ("InvalidRange", "416"):
            return UnreadableCheckpoint("the object is empty", where=self._where, fix="fetch it again", code="VC403")
        return _unanswered(self._where, code or type(error.__cause__ or error).__name__)


# --- both -------------------------------------------------------------------------------------------------------------


def _wait_for(loop: Any, question: Coroutine[Any, Any, Piece], where: str, *, tries: int = _TRIES) -> Piece:
    """Wait in this thread for what the loop of fsspec does in its own; a signal to end is noticed meanwhile."""
    future = asyncio.run_coroutine_threadsafe(question, loop)
    try:
        # the waiting for busy servers comes on top of that for each answer; the libraries of S3 try again by themselves
        return future.result(tries * (seconds_of_patience() + tries))
    except TimeoutError as error:
        raise UnreadableCheckpoint(
            f"no answer within {seconds_of_patience():g} seconds",
            where=where,
            fix="try again, fetch the file first, or allow more seconds in VISCY_COMPAT_TIMEOUT",
            code="VC364",
        ) from error
    finally:
        future.cancel()


def _lacking(where: str, error: ImportError, extra: str) -> UnreadableCheckpoint:
    """Return the error for a package that is not installed; other files of the same command go on without it."""
    from viscy_compat.checkpoint.paths import explain_path

    what, fetch = explain_path(where, "")
    return UnreadableCheckpoint(
        f"{what}, and {error.name}, which would read it, is not installed",
        where=where,
        fix=f"pip install 'viscy-compat[{extra}]', or {fetch}",
        code="VC401",
    )


def _refuse(where: str, status: int) -> NoReturn:
    fixes = {
        401: "log in, or give an address that needs no credentials",
        403: "the address may have expired, or needs credentials: ask for a new one, or log in",
        404: "check the address",
        410: "the address has expired: ask for a new one",
    }
    from http import HTTPStatus

    # the words of the standard: those of a server may repeat what it was asked, secrets included
    words = next((f" {each.phrase}" for each in HTTPStatus if each == status), "")
    raise UnreadableCheckpoint(
        f"the server refuses it ({status}{words})",
        where=where,
        fix=fixes.get(status, "open the address in a browser to see what it is"),
        code="VC362",
    )


def _unanswered(where: str, why: str) -> UnreadableCheckpoint:
    return UnreadableCheckpoint(
        f"there is no answer ({why})", where=where, fix="check the address and the network, and try again", code="VC361"
    )


def _lie(where: str, what: str) -> UnreadableCheckpoint:
    return UnreadableCheckpoint(
        f"the server does not keep to HTTP: {what}",
        where=where,
        fix="fetch the file first, and compare its size and digest with what its owner states",
        code="VC365",
    )
