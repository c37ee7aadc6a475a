"""What does the hub publish under a dataset's name?

In: an entry of kind `hub`. Out: the full commit of its revision, and for each split asked for its
files with their sizes and SHA-256: those that `files:` names, or else those that `datasets` finds,
in its order. Only names that are of that commit, and of kinds that are read here, come out.
"""

import fnmatch
from collections import Counter
from functools import partial
from tempfile import TemporaryDirectory
from typing import NamedTuple

from slm.core.errors import UserError
from slm.text.hub.errors import as_user_error
from slm.text.hub.retries import RetryLimits, with_retries
from slm.text.taking import KINDS, kind_by_name


class File(NamedTuple):
    """A file of a split, and what it is expected to be; None where nobody says."""

    name: str  # in the repository
    bytes: int | None = None
    sha256: str | None = None
    rows: int | None = None
    git: str | None = None  # its SHA-1 in git, where it has no SHA-256: a small file of text

    def pin(self) -> dict:
        """What pins.json says of it."""
        return {"name": self.name, "bytes": self.bytes, "sha256": self.sha256, "rows": self.rows}


Splits = dict[str, list[File]]


def published(entry: dict) -> tuple[str, Splits]:
    """The commit of an entry's revision, and its splits' files as the hub has them."""
    from huggingface_hub import HfApi

    path, revision = entry["path"], entry["revision"]
    with as_user_error(entry, "its list of files"):
        RetryLimits().install()
        ask = partial(HfApi().dataset_info, path, revision=revision)
        info = with_retries(partial(ask, timeout=10, files_metadata=True))
    known = {
        sibling.rfilename: File(sibling.rfilename, sibling.size, sibling.lfs["sha256"])
        if sibling.lfs
        else File(sibling.rfilename, sibling.size, git=sibling.blob_id)
        for sibling in info.siblings or []
    }
    if "README.md" in known:
        # `datasets` asks for it first, and hides why it cannot have it: gated, or a full disk.
        with as_user_error(entry, "README.md"):
            get = partial(HfApi().hf_hub_download, path, "README.md", repo_type="dataset")
            with_retries(partial(get, revision=info.sha))
    names = _named(entry, info.sha, sorted(known))
    return info.sha, {split: [known.get(n, File(n)) for n in names[split]] for split in names}


def _named(entry: dict, commit: str, known: list[str]) -> dict[str, list[str]]:
    """The names of the files of each split asked for, at a commit that has files `known`."""
    path, chosen = entry["path"], entry.get("files")
    if isinstance(chosen, dict):
        missing = [split for split in entry["splits"] if split not in chosen]
        if missing:
            raise UserError(f"`files` names none of split {missing[0]}; add patterns, or drop it")
        names = {split: _chosen(path, known, chosen[split]) for split in entry["splits"]}
    else:
        names = {split: of[:chosen] for split, of in _found(entry, commit).items()}
    every = [name for of_split in names.values() for name in of_split]
    for name in every:
        if not kind_by_name(name):
            raise UserError(f"{path}/{name} is of no kind that is read here ({KINDS})")
    both = next((name for name, times in Counter(every).items() if times > 1), None)
    if both:
        raise UserError(f"{path}/{both} is in more than one split; choose `splits` that share none")
    return names


def matching(known: list[str], patterns: str | list[str]) -> dict[str, list[str]]:
    """The known names that match each pattern, which may be a name itself.

    A `*` stands for `/`, too, as in huggingface_hub's `allow_patterns`.
    """
    listed = patterns if isinstance(patterns, list) else [patterns]
    return {p: [p] if p in known else fnmatch.filter(known, p) for p in listed}


def _chosen(path: str, known: list[str], patterns: str | list[str]) -> list[str]:
    """The names that match, pattern after pattern, each pattern's in the order of `known`."""
    names: dict[str, None] = {}
    for pattern, matched in matching(known, patterns).items():
        if not matched:
            raise UserError(
                f"files: {pattern!r} matches nothing of {path}, which has "
                f"{', '.join(known[:20]) or 'no files'}{' …' * (len(known) > 20)}"
            )
        names.update(dict.fromkeys(matched))
    return list(names)


def _found(entry: dict, commit: str) -> dict[str, list[str]]:
    """The names of the files of each split asked for, as `datasets` finds them at a commit."""
    path, urls = entry["path"], _urls(entry, commit)
    _refuse_elsewhere(path, commit, [url for of_split in urls.values() for url in of_split])
    missing = [split for split in entry["splits"] if split not in urls]
    if missing:
        raise UserError(
            f"{path} has no split {', '.join(missing)}, only {', '.join(urls) or 'none'}; correct "
            "`splits` in params.yaml"
        )
    start = len(f"hf://datasets/{path}@{commit}/")
    return {split: [url[start:] for url in urls[split]] for split in entry["splits"]}


def _urls(entry: dict, commit: str) -> dict[str, list[str]]:
    from datasets import disable_progress_bars, load_dataset_builder

    disable_progress_bars()
    # With an empty cache of its own `datasets` cannot fall back on another revision.
    with as_user_error(entry, "its data files"), TemporaryDirectory() as empty:
        load = partial(load_dataset_builder, entry["path"], entry.get("config"))
        fetched = (
            with_retries(partial(load, revision=commit, cache_dir=empty)).config.data_files or {}
        )
    return {str(split): list(map(str, urls)) for split, urls in fetched.items()}


def _refuse_elsewhere(path: str, commit: str, urls: list[str]) -> None:
    for url in urls:
        if not url.startswith(f"hf://datasets/{path}@{commit}/"):
            raise UserError(
                f"`datasets` gave {url} for {path} at {commit}, which is not from there; move the "
                f"folder {path} out of this directory if there is one"
            )
