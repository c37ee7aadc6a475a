"""Where does a tokenizer come from? It is loaded, trained, read or fetched.

In: what params.yaml asks for, and a dataset's raw/ and selection/. Out: the encoding. A
tokenizer.json is read where it lies, as `tokenizer.sha256` pins it, or from bins that hold a copy
of it. From the hub it comes into the hub's own cache, and is checked against what the hub says;
with a pin the hub is asked once, without one each time.
"""

import hashlib
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from slm.core.errors import UserError, check
from slm.text.hub.cache import cached, discard, git_hash
from slm.text.hub.errors import as_user_error
from slm.text.hub.retries import RetryLimits, quiet, with_retries
from slm.tokens.bpe import encoding_of
from slm.tokens.from_file import FILE, Encoding, FileTokenizer
from slm.tokens.published import load_encoding
from slm.tokens.wanted import WHERE, Wanted


def make(wanted: Wanted, raw: Path, selection: Path, copies: Iterable[Path] = ()) -> Encoding:
    """Returns the encoding that is asked for; raises UserError if there is none.

    `copies` are files that may be the tokenizer.json, where `tokenizer.file` is gone.
    """
    if wanted.encoding == "bpe":
        return _trained(wanted, raw, selection)
    if wanted.encoding == "file":
        content = _fetched(wanted) if wanted.file is None else _read(wanted, copies)
        return _parsed(wanted, content)
    return load_encoding(wanted.encoding)


def check_wanted(wanted: Wanted, end_of_text: str, copies: Iterable[Path] = ()) -> None:
    """Raises UserError if no bins can be made so, as far as it can be told without the hub."""
    if wanted.file is not None:
        _parsed(wanted, _read(wanted, copies))
    check(
        wanted.encoding != "file" or wanted.end_of_text is not None or end_of_text == "none",
        f"params.yaml: bins.end_of_text is {end_of_text}, and tokenizer.end_of_text is null; set "
        "it to a special token of the tokenizer.json, or bins.end_of_text to none",
    )


def _trained(wanted: Wanted, raw: Path, selection: Path) -> Encoding:
    from slm.tokens.training.merges import train

    encoding = encoding_of(train(wanted, raw, selection), wanted.pattern, wanted.special_tokens)
    for token in wanted.special_tokens:
        check(
            token.encode() not in encoding._mergeable_ranks,
            f"{WHERE}.special_tokens has {token!r}, which is a token of the trained vocabulary; "
            "choose a text such as <|user|>",
        )
    return encoding


def _parsed(wanted: Wanted, content: bytes) -> FileTokenizer:
    try:
        source = f"{wanted.path}@{wanted.revision}" if wanted.path else None
        return FileTokenizer(content, wanted.end_of_text, source)
    except UserError as error:
        raise UserError(f"{wanted.file or wanted.path}: {error}") from None


def _read(wanted: Wanted, copies: Iterable[Path]) -> bytes:
    """Returns the bytes of `tokenizer.file`, or of a copy that is the pinned one."""
    path = Path(wanted.file or "")
    try:
        read = path.read_bytes()
    except (OSError, ValueError) as error:
        for copy in copies:
            if copy.is_file() and _sha256(content := copy.read_bytes()) == wanted.sha256:
                return content
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{WHERE}.file {path} cannot be read ({reason}); correct it, or put the "
            "tokenizer.json there"
        ) from None
    actual = _sha256(read)
    check(
        wanted.sha256 is not None,
        f"{WHERE}.sha256 is null, expected that of {path}; write `sha256: {actual}` there",
    )
    check(
        actual == wanted.sha256,
        f"{path} has SHA-256 {actual}, {WHERE}.sha256 expects {wanted.sha256}; bring that file "
        "back, or write the other hash there",
    )
    return read


def _fetched(wanted: Wanted) -> bytes:
    """Returns the file of the hub, from its cache where it is there and pinned."""
    assert wanted.path and wanted.revision  # wanted() asked
    known = cached(wanted.path, wanted.revision, FILE, "model")
    if wanted.sha256 and known:
        read = known.read_bytes()
        if _sha256(read) == wanted.sha256:
            return read
    read = _asked(wanted.path, wanted.revision)
    actual = _sha256(read)
    check(
        wanted.sha256 in (None, actual),
        f"{wanted.path}/{FILE} has SHA-256 {actual} at {wanted.revision}, {WHERE}.sha256 expects "
        f"{wanted.sha256}; write the other hash there, or correct `revision`",
    )
    if not wanted.sha256:
        print(
            f"not pinned: `sha256: {actual}` under `tokenizer` in params.yaml keeps these bytes, "
            "and asks the hub no more",
            file=sys.stderr,
        )
    return read


def _asked(path: str, revision: str) -> bytes:
    """Returns the file as the hub lists it; one in the cache that is another is removed."""
    from huggingface_hub import HfApi, hf_hub_download

    entry = {"path": path, "revision": revision, "page": path}
    with quiet(), as_user_error(entry, FILE):
        RetryLimits().install()
        ask = partial(HfApi().model_info, path, revision=revision)
        info = with_retries(partial(ask, timeout=10, files_metadata=True))
        listed = {file.rfilename: file for file in info.siblings or []}
        check(
            FILE in listed,
            f"{path} has no {FILE} at {revision}; correct `path` or `revision` of `tokenizer` in "
            "params.yaml, or make one and use `file`",
        )
        known = Path(with_retries(partial(hf_hub_download, path, FILE, revision=revision)))
        read = known.read_bytes()
    lfs, git = listed[FILE].lfs, listed[FILE].blob_id
    found, expected = (_sha256(read), lfs["sha256"]) if lfs else (git_hash(known), git)
    if found != expected:
        discard(known)
        raise UserError(
            f"{path}/{FILE} has {'SHA-256' if lfs else 'the git hash'} {found}, the hub announced "
            f"{expected}; it was removed from the cache: run this again"
        )
    return read


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
