"""How do bins go to a dataset of the Hugging Face hub, and come from it?

In: hf://datasets/owner/name, which exists, and the version's name in DVC. Out: a commit there with
<dataset>/ and a card, tagged <dataset>-<version>, so that a pull finds this very version whatever
was pushed after it. The client is huggingface_hub, with its own credentials.
"""

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from slm.bins.manifest import file_names
from slm.bins.opening import Bins
from slm.core.errors import UserError, check
from slm.stores.opening import open_url
from slm.text.hub.errors import as_user_error
from slm.text.hub.retries import quiet

PLACE = re.compile(r"hf://datasets/([^/@]+/[^/@]+)/?")
WHERE = "hf://datasets/owner/name"


def is_on_hub(remote: str | None) -> bool:
    """Whether a remote is a URL of the hub, and not the name of one of DVC's."""
    return remote is not None and remote.startswith("hf://")


def repository(remote: str) -> str:
    """The owner and name of a dataset of the hub; raises UserError if the URL is of none."""
    found = PLACE.fullmatch(remote)
    if found is None:
        raise UserError(f"{remote} is no dataset of the hub; expected {WHERE}")
    return found[1]


def tag_of(dataset: str, version: str) -> str:
    """The tag of a version, which DVC calls <hash>.dir."""
    return f"{dataset}-{version.removesuffix('.dir')}"


def send_to_hub(
    folder: Path,
    repo: str,
    dataset: str,
    version: str,
    card: Callable[[], dict[str, bytes]],
    export: Path | None = None,
) -> int:
    """Commits a folder of bins, and `card`'s files by their names; how many, 0 if it was there.

    The files of `export`, a folder that slm.export filled, go with them, or after them.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    tag = tag_of(dataset, version)
    with quiet(), as_user_error({"path": repo, "revision": tag}, "a push"):
        api = _api(repo)
        refs = api.list_repo_refs(repo, repo_type="dataset")
        new = tag not in {ref.name for ref in refs.tags}
        files: dict[str, Any] = _exported(export, dataset) if export else {}
        if new:
            files |= {f"{dataset}/{name}": folder / name for name in file_names(folder)} | card()
        made: list[Any] = [CommitOperationAdd(name, content) for name, content in files.items()]
        old = api.list_repo_files(repo, repo_type="dataset") if files else []
        folders = {str(PurePosixPath(name).parent) for name in files} - {"."}
        made += [CommitOperationDelete(name) for name in _left(old, files, folders)]
        if made:
            done = api.create_commit(repo, made, commit_message=tag, repo_type="dataset")
        if new:
            api.create_tag(repo, tag=tag, revision=done.oid, repo_type="dataset")
    return len(files)


def _left(old: list[str], files: dict[str, Any], folders: set[str]) -> list[str]:
    """The files in these folders that are not sent: of an older version."""
    return [n for n in old if n not in files and str(PurePosixPath(n).parent) in folders]


def _exported(export: Path, dataset: str) -> dict[str, Path]:
    """The files of an export, by their names in the repository."""
    files = (path for path in sorted(export.rglob("*")) if path.is_file())
    above = f"{dataset}/export/{export.name}"
    return {f"{above}/{path.relative_to(export).as_posix()}": path for path in files}


def _api(repo: str) -> Any:
    """The client; raises UserError if the dataset is not there to be written."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api = HfApi()
    try:
        api.repo_info(repo, repo_type="dataset")
    except RepositoryNotFoundError:
        raise UserError(
            f"the hub has no dataset {repo}, or hides it from you; make it at "
            f"{api.endpoint}/new-dataset, then `hf auth login`"
        ) from None
    return api


def from_hub(repo: str, dataset: str, version: str) -> Bins:
    """Brings a version into the local store; raises UserError where the hub has it not."""
    tag = tag_of(dataset, version)
    with quiet(), as_user_error({"path": repo, "revision": tag}, "a pull"):
        refs = _api(repo).list_repo_refs(repo, repo_type="dataset")
    known = tag in {ref.name for ref in refs.tags}
    cure = f"`make push DATASET={dataset} REMOTE=hf://datasets/{repo}` where they are sends them"
    check(known, f"{repo} has no tag {tag}, so not the bins that dvc.lock names; {cure}")
    bins = open_url(f"hf://datasets/{repo}@{tag}/{dataset}")
    bins.need(None)
    return bins
