"""How do files of the Hugging Face hub become raw/ files?

In: a dataset's path, a revision (commit, branch or tag), a column, splits, the config where there
are several; and where they are known, source/pins.json: the files' names, sizes, SHA-256, rows, and
the tokens to expect. Out: Parquet and JSON Lines as they were published, linked. Every byte is
checked against the pins, or, without them, against what the hub says. Where the pinned files are
in the hub's cache, the hub is not asked. What fails says so in one line; finished files are kept.
"""

import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path

from slm.core.errors import UserError, check
from slm.core.files import link_or_copy, to_json
from slm.text.counting import read_through, source_file
from slm.text.hub.cache import cached, discard, git_hash, has_blob, say, sweep, watched
from slm.text.hub.columns import check_published
from slm.text.hub.errors import as_user_error
from slm.text.hub.listing import File, Splits, published
from slm.text.hub.pins import Pins, read_pins
from slm.text.hub.retries import quiet, with_retries
from slm.text.hub.room import check_room, token_bytes, written_bytes
from slm.text.raw import raw_name
from slm.text.taking import WRITTEN, kind_of, rows_of, take


def take_hub(entry: dict, source: Path, raw: Path) -> tuple[dict, dict]:
    """Fill `raw`; return what identifies the source, and its splits as source.json holds them.

    Raises UserError, one line with the cure, whatever goes wrong between the hub and here.
    """
    pins = read_pins(entry, source / "pins.json")
    with quiet():
        commit, splits = _cached(entry, pins) or _asked(entry, pins)
        fetched = _fetched(entry, commit, splits, pins, source.parent)
    taken = _taken(entry, fetched, raw)
    identity = {key: entry[key] for key in ("column", "path", "config") if key in entry}
    identity["revision"] = commit
    identity |= {key: entry[key] for key in ("separator", "strip", "encoding") if entry.get(key)}
    rows = {split: [file["rows"] for file in of["files"]] for split, of in taken.items()}
    for split, expected in (entry.get("rows") or {}).items():
        n = sum(rows.get(split, []))
        wrong = f"{split} has {n:,} rows, `rows` in params.yaml expects {expected:,}; correct one"
        check(split not in rows or n == expected, wrong)
    if pins:
        pins.check_rows(rows)
        identity |= {"expected_tokens": pins.tokens} if pins.tokens else {}
    else:
        _offer(identity, fetched, rows, source, raw)
    return identity, taken


def _cached(entry: dict, pins: Pins | None) -> tuple[str, Splits] | None:
    """The pinned files, where all of them are in the hub's cache: the hub is not asked."""
    if not pins:
        return None
    splits = {split: [File(**f) for f in pins.files[split]] for split in entry["splits"]}
    with as_user_error(entry, "its cache"):
        names = [file.name for files in splits.values() for file in files]
        there = all(cached(entry["path"], pins.revision, name) for name in names)
    return (pins.revision, splits) if there else None


def _asked(entry: dict, pins: Pins | None) -> tuple[str, Splits]:
    """What the hub has, as it is pinned where it is."""
    with as_user_error(entry, "its cache"):
        sweep(entry["path"])
    commit, splits = published(entry)
    return commit, pins.agree(splits) if pins else splits


def _fetched(
    entry: dict, commit: str, splits: Splits, pins: Pins | None, dataset: Path
) -> dict[str, list[tuple[File, Path]]]:
    """The files, checked, and where the cache has them; one is checked while the next one comes."""
    path, files = entry["path"], [file for of_split in splits.values() for file in of_split]
    there = {f.name for f in files if cached(path, commit, f.name) or has_blob(path, f.sha256)}
    download = sum(file.bytes or 0 for file in files if file.name not in there)
    counts = pins.tokens_of(splits) if pins else {}
    tokens = sum(token_bytes(of_split, counts.get(split)) for split, of_split in splits.items())
    size, written = sum(file.bytes or 0 for file in files), written_bytes(files)
    check_room(path, download, size, tokens, dataset, written)
    if download:
        say(path, files, download)
    pool, jobs = ThreadPoolExecutor(os.cpu_count()), []
    try:
        for file in files:
            location = cached(path, commit, file.name) or _download(entry, commit, file)
            jobs.append(pool.submit(_checked, entry, file, location, bool(pins)))
            for job in takewhile(Future.done, jobs):
                job.result()  # the first wrong file is said before another is fetched
        done = iter([job.result() for job in jobs])
    finally:
        pool.shutdown(cancel_futures=True)
    return {split: [next(done) for _ in of_split] for split, of_split in splits.items()}


def _download(entry: dict, commit: str, file: File) -> Path:
    from datasets import DownloadManager

    if not has_blob(entry["path"], file.sha256):
        check_published(entry, commit, file)
    url = f"hf://datasets/{entry['path']}@{commit}/{file.name}"
    with as_user_error(entry, file.name), watched(entry["path"], file.name, file.bytes):
        return Path(with_retries(lambda: DownloadManager().download(url)))


def _checked(entry: dict, file: File, location: Path, pinned: bool) -> tuple[File, Path]:
    """The file as it was found; its bytes before anything reads them, then its rows."""
    who = "pins.json expects" if pinned else "the hub announced"
    _compare(file.name, "bytes", location.stat().st_size, file.bytes, who, location)
    if file.git:
        _compare(file.name, "git's hash", git_hash(location), file.git, who, location)
    sha256, lines = read_through(location)
    _compare(file.name, "SHA-256", sha256, file.sha256, who, location)
    kind, rows = kind_of(location, file.name), file.rows
    if kind not in WRITTEN:  # what is written is counted then
        rows = rows_of(location, file.name, kind, entry["column"], lines)
        _compare(file.name, "rows", rows, file.rows, who)
    return File(file.name, location.stat().st_size, sha256, rows), location


def _compare(name: str, what: str, fetched, expected, who: str, file: Path | None = None) -> None:
    if expected in (None, fetched):
        return
    if file:
        discard(file)
    cure = "it was removed from the cache: run this again" if file else "correct pins.json"
    raise UserError(f"{name} has {what} {fetched}, {who} {expected}; {cure}")


def _taken(entry: dict, fetched: dict[str, list[tuple[File, Path]]], raw: Path) -> dict:
    """Fill `raw`; the splits as source.json holds them."""
    splits = {}
    for split, files in fetched.items():
        names, taken = [], []
        for number, (file, path) in enumerate(files):
            kind = kind_of(path, file.name)
            ending = ".jsonl" if kind in WRITTEN else kind
            names.append(raw_name(split, number, len(files), ending))
            if kind in WRITTEN:
                taken += take(kind, [(file.name, path)], raw / names[-1], entry["column"], entry)
                _compare(file.name, "rows", taken[-1]["rows"], file.rows, "pins.json expects")
            else:
                link_or_copy(path, raw / names[-1])
                taken.append(source_file(path, file.name, file.rows or 0, file.sha256 or ""))
        splits[split] = {"raw": names, "files": taken}
    return splits


def _offer(identity: dict, fetched: dict, rows: dict, source: Path, raw: Path) -> None:
    """Write what was found as raw/pins.json, and say how it is kept."""
    files = {
        split: [f._replace(rows=n).pin() for (f, _), n in zip(of_split, rows[split], strict=True)]
        for split, of_split in fetched.items()
    }
    pins = {k: identity[k] for k in ("path", "config", "revision") if k in identity}
    pins["files"] = files
    (raw / "pins.json").write_bytes(to_json(pins))
    print(
        f"not pinned: `cp {source.parent}/raw/pins.json {source}/`, and `revision: "
        f"{identity['revision']}` in params.yaml keep these bytes",
        file=sys.stderr,
    )
