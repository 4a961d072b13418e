"""Files that are no checkpoint, called by their name, with what to do."""

from __future__ import annotations

from os.path import splitext

from viscy_compat.annotations import Final, Literal
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.layout import printable, quote_path, quote_word

_MAGIC: Final = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras, AnnData)", "convert it to a state dict with the tool that wrote it"),
    (b"\x93NUMPY", "a numpy array", "give the checkpoint that the model was saved to"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image", "give a checkpoint file"),
    (b"\xff\xd8\xff", "a JPEG image", "give a checkpoint file"),
    (b"II*\x00", "a TIFF image", "give a checkpoint file"),
    (b"MM\x00*", "a TIFF image", "give a checkpoint file"),
    (b"II+\x00", "a TIFF image", "give a checkpoint file"),
    (b"GIF8", "a GIF image", "give a checkpoint file"),
    (b"%PDF", "a PDF document", "give a checkpoint file"),
    (b"\x1f\x8b", "packed with gzip", "gzip -dc"),
    (b"BZh", "packed with bzip2", "bzip2 -dc"),
    (b"\xfd7zXZ\x00", "packed with xz", "xz -dc"),
    (b"(\xb5/\xfd", "packed with zstandard", "zstd -dc"),
    (b'\x04"M\x18', "packed with lz4", "lz4 -dc"),
    (b"PK\x05\x06", "an empty zip archive", "fetch it again"),
    (b"7z\xbc\xaf'\x1c", "a 7-Zip archive", "unpack it first"),
    (b"Rar!", "a RAR archive", "unpack it first"),
    (b"GGUF", "a GGUF model", "no VisCy model was saved like this: give the original checkpoint"),
    (b"SQLite format 3\x00", "an SQLite database", "give a checkpoint file"),
    (b"\x7fELF", "a program", "give a checkpoint file"),
    (b"MZ", "a Windows program", "give a checkpoint file"),
    (b"TFL3", "a TensorFlow Lite model", "no VisCy model was saved like this: give the original checkpoint"),
    (b"version https://git-lfs", "a git-LFS pointer, not the file it stands for", "fetch the file: git lfs pull"),
    (b"# v2 git-annex", "a git-annex pointer, not the file it stands for", "fetch the file: git annex get FILE"),
    (b"/annex/objects/", "a git-annex pointer, not the file it stands for", "fetch the file: git annex get FILE"),
)
"""How each begins, what it is, and what to do; the command of a packed one is completed with the file's name."""

_APPLE: Final = b"\x00\x05\x16\x07"
"""AppleDouble: what macOS writes as ``._NAME`` beside a file on a disc that has no room for its attributes."""

_TENSORFLOW: Final = "no VisCy model was saved like this: give the original checkpoint"
_TABLE_END: Final = bytes.fromhex("57fb808b247547db")
"""The last bytes of the ``.index`` of a TensorFlow checkpoint."""

_MOST_NAMED: Final = 3
"""What stands beside a checkpoint in its archive: more than a note and a folder or two is another archive."""
_PAGE: Final = "a web page, not the file behind it"
_FETCH: Final = (
    "open the address in a browser, or download with the link of the file itself (on a hub: /resolve/, not /blob/)"
)


Role = Literal["beside", "instead", "tensorless"]


class NotWeights(UnreadableCheckpoint):
    """A file that could be read and holds no state dict.

    ``standing`` is ``beside`` for what is saved next to the weights of a run and is no fault of it, ``instead`` for a
    file that should have held them, and ``tensorless`` where only its name can tell which; ``what`` names the content.
    """

    def __init__(self, what: str, fix: str, *, where: str, role: Role) -> None:
        self.what, self.role = what, role
        opening = "no weights in this file:" if role == "beside" else "the file holds"
        super().__init__(f"{opening} {what}", where=where, fix=fix, code="VC444")


class ForeignPickle(UnreadableCheckpoint):
    """A pickle of another program."""


def foreign(head: bytes, path: str, size: int, tail: bytes = b"") -> UnreadableCheckpoint:
    """Return the error for a file that is no checkpoint, by its first bytes and its last ones.

    Examples
    --------
    >>> str(foreign(b"version https://git-lfs.github.com/spec/v1", "a.ckpt", 130))
    'a.ckpt: this is a git-LFS pointer, not the file it stands for; fetch the file: git lfs pull'
    """
    if not size:
        return UnreadableCheckpoint(
            "the file is empty", where=path, fix="fetch it again: the download or the save did not finish", code="VC405"
        )
    from viscy_compat.checkpoint.pointers import numbers_of_another_format, what_stands_instead

    instead = what_stands_instead(head, path, size)
    if instead:
        return _foreign_file(path, *instead)
    for magic, what, fix in _MAGIC:
        if head.startswith(magic) and _holds_a_tar(head, path):
            return _foreign_file(path, f"a tar archive, {what}", _unpack("tar -xf", path, "-C"))
        if head.startswith(magic) and fix.endswith(" -dc"):
            # into a file with a name of its own: gunzip takes no .ckpt, whatever is in it
            stem, ending = splitext(path)
            is_packed = ending.lower() in (".gz", ".bz2", ".xz", ".zst", ".lz4")
            out = quote_path(stem if is_packed else f"{stem}.unpacked{ending}")
            return _foreign_file(path, what, f"unpack it first: {fix} {quote_path(path)} > {out}")
        if head.startswith(magic):
            return _foreign_file(path, what, fix)
    if tail.endswith(_TABLE_END):
        return _foreign_file(path, "the index of a TensorFlow checkpoint", _TENSORFLOW)
    found = _by_content(head, path)
    # the bytes of plain numbers say nothing of themselves, or look like whatever they like
    numbers = numbers_of_another_format(path)
    if numbers:
        return _foreign_file(path, numbers, "it holds no state dict: give the checkpoint that it was converted from")
    return found


def _holds_a_tar(head: bytes, path: str) -> bool:
    """Say whether what is packed is a tar archive, by its first bytes, or by its name where they are not to be had."""
    name = path.lower()
    if name.endswith((".tgz", ".txz", ".tbz", ".tbz2")) or ".tar." in name[name.rfind("/") + 1 :]:
        return head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"(\xb5/\xfd"))
    if head.startswith(b"\x1f\x8b"):
        import zlib

        try:
            # 31: a header of gzip is meant; a tar archive names itself at 257, in the first of its blocks of 512
            return zlib.decompressobj(31).decompress(head, 512)[257:262] == b"ustar"
        except zlib.error:
            return False
    return False


def _unpack(command: str, path: str, option: str) -> str:
    """Return the line that unpacks an archive into a folder of its own beside it, and checks that."""
    from viscy_compat.checkpoint.locations import is_address, name_of

    # what came from an address is unpacked where the command is typed
    place = name_of(path) if is_address(path) else path
    stem = place.removesuffix(splitext(place)[1]).removesuffix(".tar")
    folder = quote_path(f"{stem}.unpacked")
    lines = (f"mkdir {folder}", f"{command} {quote_path(place)} {option} {folder}", f"viscy-compat check {folder}")
    return f"unpack it and check what is in it: {' && '.join(lines)}"


def _by_content(head: bytes, path: str) -> UnreadableCheckpoint:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<?xml"):
        return _foreign_file(path, *_xml(head))
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<script", b"<body", b"<!--")):
        return _foreign_file(path, _PAGE, _FETCH)
    if head.startswith(_APPLE):
        fix = "give the file whose name is the same without '._'"
        return _foreign_file(path, "a resource file that a Mac left beside the one with the weights", fix)
    if text.startswith(b"model_checkpoint_path:"):
        return _foreign_file(path, "TensorFlow's list of checkpoints", _TENSORFLOW)
    # A SavedModel is version 1 and a graph of more than 127 bytes; an ONNX file has its version at that place.
    if head.startswith(b"\x08\x01\x12") and head[3:4] > b"\x7f":
        return _foreign_file(path, "a TensorFlow model (SavedModel)", _TENSORFLOW)
    if b"tensorflow" in head or b"_CHECKPOINTABLE_OBJECT_GRAPH" in head:
        return _foreign_file(path, "a TensorFlow checkpoint", _TENSORFLOW)
    if head[257:262] == b"ustar" or (head[:1].isalnum() and head[100:108].rstrip(b"\0 ").isdigit() and len(head) > 500):
        return _foreign_file(
            path,
            "a tar archive (torch before 0.1.10, a .nemo file, or a packed folder)",
            _unpack("tar -xf", path, "-C"),
        )
    if head[4:8] == b"ftyp":
        return _foreign_file(path, "a video", "give a checkpoint file")
    if head[:1] == b"\x08" and (b"onnx" in text or b"pytorch" in text or b"\x12" in head[2:3]):
        # torch.onnx.export multiplies a batch norm into the kernel before it, which keeps its name
        fix = "it holds no state dict, and a kernel in it may have other numbers: give the checkpoint that was exported"
        return _foreign_file(path, "an ONNX model", fix)
    if not head.strip(b"\0"):
        return _foreign_file(
            path, "filled with zeros: a download that reserved its space and did not finish", "fetch it again"
        )
    import re

    # protocols 0 and 1 have no mark of their own: a dictionary or list that is remembered at once, as no text begins, or the
    # name of a class before its arguments
    if re.match(rb"\((?:dp|lp)\d+\n|[}\]]q\0|c[A-Za-z_][\w.]*\n\w+\n(?:[(]|p\d+\n|q\0)", head):
        return foreign_pickle(path)
    if what := _kind_of_text(head, text):
        fix = (
            "give a checkpoint, or the '*.index.json' of a sharded one" if "JSON" in what else "give a checkpoint file"
        )
        return _foreign_file(path, what, fix)
    return UnreadableCheckpoint(
        f"no checkpoint format begins with the bytes {head[:8].hex(' ')}",
        where=path,
        fix="give a file written by torch.save or safetensors; if it is one, fetch it again",
        code="VC407",
    )


def _xml(head: bytes) -> tuple[str, str]:
    """Say what an XML file is, and what to do: the answer of a store, a page, a network of OpenVINO, or some other."""
    text = head.lower()
    if b"<error>" in text or b"<code>" in text:
        code = head.partition(b"<Code>")[2].partition(b"</Code>")[0][:40].decode("ascii", "replace")
        detail = f" ({code})" if code.isalnum() else ""
        return (
            f"the answer of a store that did not give the file{detail}",
            "check the address and your access, fetch it again",
        )
    if b"<html" in text or b"<!doctype html" in text:
        return _PAGE, _FETCH
    if b"<net " in text or b"<layers" in text:
        return "an OpenVINO model", "it holds no state dict: give the checkpoint that it was converted from"
    return "an XML file", "give a checkpoint file"


def _kind_of_text(head: bytes, text: bytes) -> str:
    """Say what a text is: a configuration, JSON, or what it begins with; nothing where the bytes are no text."""
    line, _, rest = text.partition(b"\n")
    name = line.strip()[1:-1]
    # the name of a section, as no JSON begins with: a list of one word holds it in quotes, or is one of the three
    is_section = line.strip().endswith(b"]") and name.translate(None, b"_.-").isalpha()
    has_settings = not rest.strip() or b"=" in rest or b":" in rest
    if text.startswith(b"[") and is_section and has_settings and name not in (b"true", b"false", b"null"):
        return "an INI file (a configuration)"
    if text.startswith((b"{", b"[")):
        return "a JSON file"
    try:
        # the end of what was read may lie within a letter
        letters = head[:400].decode("utf-8", "strict" if len(head) <= 400 else "ignore")
    except UnicodeDecodeError:
        return ""
    first_words = head[:40].decode("utf-8", "replace").split("\n")[0].strip()
    is_text = all(letter.isprintable() or letter in "\r\n\t" for letter in letters)
    return f"a text file, which begins with {first_words!a}" if is_text else ""


def foreign_pickle(path: str) -> ForeignPickle:
    """Return the error for a pickle that torch did not write."""
    return ForeignPickle(
        "this is a pickle that torch.save did not write (pickle.dump, joblib)",
        where=path,
        fix="load it with the program that wrote it and save model.state_dict() with torch.save",
        code="VC406",
    )


def lone_pickle(path: str) -> UnreadableCheckpoint:
    """Return the error for the pickle of a torch file that was unpacked, without the storages beside it."""
    what = "the pickle of an unpacked torch file, without the folder 'data' that holds its tensors"
    return _foreign_file(path, what, "give the file that was unpacked, or the whole folder")


def other_archive(path: str, names: list[str], pickles: list[str]) -> UnreadableCheckpoint:
    """Return the error for a zip archive that is no torch checkpoint, by what is in it.

    Examples
    --------
    >>> str(other_archive("a.pt", ["m/data.pkl", "m/constants.pkl", "m/code/a.py"], ["m/data.pkl"])).split(";")[0]
    'a.pt: this is a TorchScript archive'
    """
    last = {name.rpartition("/")[2] for name in names}
    if "MAR-INF/MANIFEST.json" in names:
        return _foreign_file(path, "a TorchServe archive", _unpack("unzip", path, "-d"))
    if "constants.pkl" in last:
        return _torchscript(path, names)
    if len(pickles) > 1 or (pickles and len({name.partition("/")[0] for name in names}) > 1):
        return _several_roots(path, names, pickles)
    if "archive_format" in last or any(name.endswith(".json") and "/models/" in name for name in names):
        fix = "where you trust it, torch.export.load(FILE).state_dict has the names of the class: save that"
        return _foreign_file(path, "a torch.export archive", f"{fix} with torch.save")
    if "config.json" in last and "model.weights.h5" in last:
        return _foreign_file(path, "a Keras model", "no VisCy model was saved like this: give the original checkpoint")
    if names and all(name.endswith(".npy") for name in names):
        return _foreign_file(path, "a numpy archive (.npz)", "give the checkpoint that the model was saved to")
    if any(name.rpartition(".")[2] in ("ckpt", "pt", "pth", "safetensors") for name in names):
        return _foreign_file(path, "a zip archive with checkpoints in it", "unpack it first, then check the folder")
    if "[Content_Types].xml" in names:
        return _foreign_file(path, "an Office document", "give a checkpoint file")
    return _foreign_file(
        path, "a zip archive without a checkpoint in it", "unpack it first; torch.save writes 'data.pkl'"
    )


def _several_roots(path: str, names: list[str], pickles: list[str]) -> UnreadableCheckpoint:
    """Say what stands beside the folder of a torch file: a README that somebody zipped in is no second checkpoint."""
    message, fix = "the archive has several roots, and readers differ in which one they take", "do not use this file: "
    folder = pickles[0].removesuffix("data.pkl")
    outside = [name for name in names if not name.startswith(folder)]
    patterns = dict.fromkeys(
        f"{root}/*" if slash else root for root, slash, _ in (name.partition("/") for name in outside)
    )
    stem, ending = splitext(path)
    # zip looks for FILE.zip where FILE has no ending
    if ending and not any(name.endswith(".pkl") for name in outside) and len(patterns) <= _MOST_NAMED:
        message = (
            f"{' and '.join(map(printable, patterns))} beside {folder}, and torch reads archives of one folder alone"
        )
        words = (quote_path(path), *map(quote_word, patterns), "--out", quote_path(f"{stem}.whole{ending}"))
        fix = f"where you know who put that in, leave it out of a copy: zip -d {' '.join(words)}; else "
    return UnreadableCheckpoint(message, where=path, fix=f"{fix}fetch it from its source again", code="VC415")


def _torchscript(path: str, names: list[str]) -> UnreadableCheckpoint:
    """Say whether a state dict is left in a program: ``torch.jit.freeze`` moves each weight into the constants."""
    has_weights = any("/data/" in name for name in names)
    if not has_weights and any("/constants/" in name for name in names):
        fix = "no state dict is left in it, its weights are constants: give the checkpoint that it was made from"
        return _foreign_file(path, "a frozen TorchScript archive", fix)
    load = "it is a program with weights: load it with torch.jit.load where you trust it, and save its state_dict()"
    buffers = "without the buffers that the class makes with persistent=False, which a program keeps"
    return _foreign_file(path, "a TorchScript archive", f"{load} {buffers}")


def _foreign_file(path: str, what: str, fix: str) -> UnreadableCheckpoint:
    return UnreadableCheckpoint(f"this is {what}", where=path, fix=fix, code="VC406")
