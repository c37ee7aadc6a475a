"""Where does a tokenizer come from? It is loaded, trained, read or fetched.

In: what params.yaml asks for, and a dataset's raw/ and selection/. Out: the encoding. A
tokenizer.json is read where it lies, as `tokenizer.sha256` pins it, or fetched from the hub once,
into the hub's own cache, and checked against the pin, or, without one, against what the hub says.
"""

import hashlib
import sys
from functools import partial
from pathlib import Path

from slm.core.errors import UserError, check
from slm.text.hub.cache import discard
from slm.text.hub.errors import as_user_error
from slm.text.hub.retries import RetryLimits, quiet, with_retries
from slm.tokens.bpe import encoding_of
from slm.tokens.from_file import FILE, Encoding, FileTokenizer
from slm.tokens.published import load_encoding
from slm.tokens.wanted import Wanted


def make(wanted: Wanted, raw: Path, selection: Path) -> Encoding:
    """Returns the encoding that is asked for; raises UserError if there is none."""
    if wanted.encoding == "bpe":
        from slm.tokens.training.merges import train

        return encoding_of(train(wanted, raw, selection), wanted.pattern, wanted.special_tokens)
    if wanted.encoding == "file":
        return FileTokenizer(content(wanted), wanted.end_of_text)
    return load_encoding(wanted.encoding)


def content(wanted: Wanted) -> bytes:
    """Returns the tokenizer.json that is asked for, checked."""
    if wanted.file is None:
        return _fetched(wanted)
    path = Path(wanted.file)
    try:
        read = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"tokenizer.file {path} cannot be read ({error.strerror}); correct it in params.yaml, "
            "or put a tokenizer.json there"
        ) from None
    actual = hashlib.sha256(read).hexdigest()
    check(
        wanted.sha256 is not None,
        f"params.yaml: tokenizer.sha256 is null, expected that of {path}; write `sha256: {actual}` "
        "there",
    )
    check(
        actual == wanted.sha256,
        f"{path} has SHA-256 {actual}, params.yaml: tokenizer.sha256 expects {wanted.sha256}; "
        "bring that file back, or write the other hash there",
    )
    return read


def check_wanted(wanted: Wanted, end_of_text: str) -> None:
    """Raises UserError if no bins can be made so, as far as it can be told without the hub."""
    if wanted.file is not None:
        FileTokenizer(content(wanted), wanted.end_of_text)
    check(
        wanted.encoding != "file" or wanted.end_of_text is not None or end_of_text == "none",
        f"params.yaml: bins.end_of_text is {end_of_text}, and tokenizer.end_of_text is null; set "
        "it to a special token of the tokenizer.json, or bins.end_of_text to none",
    )


def _fetched(wanted: Wanted) -> bytes:
    """Returns the file of the hub, from its cache where it is there and pinned."""
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    assert wanted.path and wanted.revision  # wanted() asked
    entry = {"path": wanted.path, "revision": wanted.revision, "page": wanted.path}
    where = {"repo_id": wanted.path, "filename": FILE, "revision": wanted.revision}
    with quiet(), as_user_error(entry, FILE):
        known = try_to_load_from_cache(**where) if wanted.sha256 else None
        sha256, git = wanted.sha256, None
        if not isinstance(known, str):
            RetryLimits().install()
            ask = partial(HfApi().model_info, wanted.path, revision=wanted.revision)
            info = with_retries(partial(ask, timeout=10, files_metadata=True))
            listed = {file.rfilename: file for file in info.siblings or []}
            check(FILE in listed, f"{wanted.path} has no {FILE} at {wanted.revision}")
            sha256 = sha256 or (listed[FILE].lfs or {}).get("sha256")
            git = None if listed[FILE].lfs else listed[FILE].blob_id
            known = with_retries(partial(hf_hub_download, **where))
        read = Path(known).read_bytes()
    cure = "it was removed from the cache: run this again"
    try:
        _compare(read, sha256, f"{wanted.path}/{FILE} has", cure)
        blob = hashlib.sha1(b"blob %d\0" % len(read) + read, usedforsecurity=False).hexdigest()
        wrong = f"{wanted.path}/{FILE} has git's hash {blob}, expected {git}; {cure}"
        check(git in (None, blob), wrong)
    except UserError:
        discard(Path(known))
        raise
    if not wanted.sha256:
        print(
            f"not pinned: `sha256: {hashlib.sha256(read).hexdigest()}` under `tokenizer` in "
            "params.yaml keeps these bytes, and asks the hub no more",
            file=sys.stderr,
        )
    return read


def _compare(read: bytes, expected: str | None, what: str, cure: str) -> None:
    actual = hashlib.sha256(read).hexdigest()
    check(expected in (None, actual), f"{what} SHA-256 {actual}, expected {expected}; {cure}")
