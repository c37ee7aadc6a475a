"""How do bins come from a DVC remote, and how do they go there?

In: the name of a dataset, and of a remote in .dvc/config (None: the default one). What arrives is
the version that dvc.lock names, every byte of it checked here: DVC by itself hands out what a
remote returned. It replaces what was in the workspace at once, and nothing that exists nowhere
else. What a push sends was checked, too, and is named by a commit, so that a clone can pull it.
"""

from pathlib import Path

from slm.bins.manifest import file_names, read_manifest, url_in
from slm.bins.opening import open_bins
from slm.cards.croissant import croissant
from slm.cards.readme import readme
from slm.core.errors import UserError, check
from slm.core.git import git_text
from slm.export.exporting import exported
from slm.stores.hub import from_hub, is_on_hub, repository, send_to_hub
from slm.versions.cache import add_folder, missing_objects
from slm.versions.lock import folder_hash, folder_list, locked_hash
from slm.versions.objects import checkout, fetch, remote_store, send
from slm.versions.pipeline import open_repo
from slm.versions.remote_errors import as_user_error
from slm.versions.verify import LOCK, damaged, only_here


def locked(name: str) -> str:
    """The hash that dvc.lock has for the bins of `name`; UserError where it has none."""
    version = locked_hash(LOCK, f"bins@{name}", f"data/{name}/bins")
    if version is None:
        raise UserError(f"dvc.lock names no bins of {name}; `make data DATASET={name}` builds them")
    return version


def pull(name: str, remote: str | None) -> bool:
    """Bring data/<name>/bins as dvc.lock names them; False where they are here already.

    Raises UserError where intact bins cannot be had, and where the workspace has files that would
    be lost; then the workspace is as it was.
    """
    folder, version = Path("data", name, "bins"), locked(name)
    with open_repo() as repo:
        cache = Path(repo.cache.local.path)
        if not (absent := missing_objects(cache, version)) and not damaged(folder, [version]):
            return False
        if absent and is_on_hub(remote):
            _bring_from_hub(name, str(remote), cache, version)
        elif absent:
            with as_user_error(repo.config, remote):
                fetch(repo.cache.local, remote_store(repo, remote), version)
        for path in only_here(folder, cache, version):
            raise UserError(
                f"{path} is neither what dvc.lock names nor in DVC's cache, so a pull would lose "
                "it; move it away or remove it, then pull again"
            )
        checkout(repo.cache.local, version, folder)
    return True


def push(name: str, remote: str, export: str | None = None) -> int:
    """Send data/<name>/bins to a remote; the number of files that it did not have.

    To a dataset of the hub `export` goes, too: the name of a format that was exported.
    Raises UserError where they are damaged, or where what names them is not committed.
    """
    folder, version = Path("data", name, "bins"), locked(name)
    where = repository(remote) if is_on_hub(remote) else ""
    check(not export or where != "", f"{remote} takes bins alone; exports go to hf://…")
    check(
        where == "" or url_in(folder) is None,
        f"these bins lie in {url_in(folder)}; who may read there opens them: slm.open_bins",
    )
    if not folder.exists():
        raise UserError(f"{folder} is not here to be pushed; `make data DATASET={name}` makes it")
    for line in damaged(folder, [version]):
        raise UserError(f"{line}; `make verify DATASET={name} FIX=1` repairs it before a push")
    if changed := _uncommitted(name):
        raise UserError(f"{changed} is not committed, so no clone could pull; `git commit` it")
    if is_on_hub(remote):
        made = exported(open_bins(folder), export, folder.with_name("export")) if export else None
        return send_to_hub(folder, where, name, version, lambda: _card(folder), made)
    with open_repo() as repo, as_user_error(repo.config, remote):
        store = remote_store(repo, remote)
        return send(folder, store, version, folder_list(folder, file_names(folder)))


def _bring_from_hub(name: str, remote: str, cache: Path, version: str) -> None:
    """Bring a version from a dataset of the hub into DVC's cache."""
    folder = from_hub(repository(remote), name, version).folder
    names = file_names(folder)
    same = folder_hash(folder, names) == version
    check(same, f"{remote} has other bins than dvc.lock names, under their tag; push them again")
    add_folder(cache, folder, folder_list(folder, names))


def _card(folder: Path) -> dict[str, bytes]:
    """The card of bins, by the names of its files beside their folder."""
    manifest = read_manifest(folder)
    name = manifest["dataset"]["name"]
    return {"README.md": readme(manifest), f"{name}/croissant.json": croissant(folder, manifest)}


def _uncommitted(name: str) -> str:
    """The first file that git has not as it is here, of those that make a version of bins."""
    files = ["dvc.lock", "dvc.yaml", "params.yaml", f"data/{name}/source", f"metrics/{name}"]
    cure = "a push needs the commit that names what it sends"
    return git_text(Path(), "status", "--porcelain", "--", *files, cure=cure)[3:].split("\n")[0]
