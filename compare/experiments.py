"""How is a variant built and kept, with the workspace left as it was?

In: variants by their names, and a workspace whose text is built. Out: DVC experiments on what was
the last commit when they were made, one a variant, with its params.yaml, dvc.lock and metrics, its
bins in DVC's cache: `dvc exp apply` takes one, slm.bins opens one by name. source/ is as that
commit has it. They are built in a clone (compare.scratch): nothing is downloaded for them, and of
two with one vocabulary the second only writes bins. Each is kept once it is whole: those before an
interrupt stay, and those after one that fails are built.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

from compare.scratch import run_git, scratch
from compare.variants import Variant
from slm.bins.opening import Bins
from slm.core.files import link_or_copy
from slm.core.params import set_values
from slm.stores.opening import open_bins
from slm.versions.cache import corrupt_objects, file_list, missing_objects, object_path, objects_of
from slm.versions.leftovers import remove
from slm.versions.lock import hash_at
from slm.versions.pipeline import build, experiment
from slm.versions.verify import local_cache

LINK = "120000"  # git's mode of a symbolic link


def kept(dataset: str, names: list[str]) -> dict[str, str]:
    """The commits of those experiments of these names whose bins DVC's cache has."""
    cache = local_cache()
    listed = run_git(Path(), "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps")
    refs = (line.split() for line in listed.splitlines())
    every = {ref.split("/")[4]: commit for commit, ref in refs if ref.count("/") == 4}
    return {
        name: commit
        for name, commit in every.items()
        if name in names and _in_cache(cache, commit, dataset)
    }


def _in_cache(cache: Path, commit: str, dataset: str) -> bool:
    """Whether all its bins are there; corrupt objects go, or DVC would hand them out."""
    if not (version := _version(commit, dataset)):
        return False
    for path in corrupt_objects(cache, objects_of(cache, version)):
        path.unlink()
    return not missing_objects(cache, version)


def _version(commit: str, dataset: str) -> str | None:
    """DVC's hash of an experiment's bins."""
    lock = content(commit, "dvc.lock")
    return hash_at(lock, Path("dvc.lock"), f"bins@{dataset}", f"data/{dataset}/bins")


@contextmanager
def opened(dataset: str, commits: dict[str, str]) -> Iterator[dict[str, Bins]]:
    """The bins of kept experiments by name, for the block: links to DVC's cache, no copies."""
    cache, folder = local_cache(), Path("data", dataset, f"opened.{os.getpid()}.tmp")
    try:
        for name, commit in commits.items():
            (folder / name).mkdir(parents=True)
            version = _version(commit, dataset) or ""
            for file, md5 in (file_list(cache, version) or {}).items():
                link_or_copy(object_path(cache, md5), folder / name / file)
        yield {name: open_bins(folder / name) for name in commits}
    finally:
        remove(folder)


def content(commit: str, path: str) -> bytes:
    """A file of an experiment that git has, such as its metrics; UserError where it has none."""
    return run_git(Path(), "show", f"{commit}:./{path}").encode()


def make(dataset: str, wanted: dict[str, Variant], say: Callable[[str], None]) -> None:
    """Build these variants, given by their names; `say` is told what comes next.

    Where a stage fails, which says why, its variant is left out. Raises UserError where DVC fails.
    """
    if not all(Path("data", dataset, out).is_dir() for out in ("raw", "facts")):  # after a pull
        build(f"audit@{dataset}")
    with scratch(dataset) as root:
        for number, (name, variant) in enumerate(wanted.items(), 1):
            say(f"{variant.label} ({number} of {len(wanted)})")
            _share_file(variant.tokenizer.file, root)
            with chdir(root):
                set_values(Path("params.yaml"), variant.values)
                try:
                    experiment(name)
                except SystemExit:  # the stage has said why
                    continue
                _keep_link(dataset, name)
            _bring(root, name)


def _share_file(file: str | None, root: Path) -> None:
    """Give the clone a tokenizer.json that git does not know, and keep it out of the experiment."""
    if file is None or Path(file).is_absolute() or (root / file).exists():
        return
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).symlink_to(Path(file).resolve())
    exclude = run_git(root, "rev-parse", "--path-format=absolute", "--git-path", "info/exclude")
    prefix = run_git(root, "rev-parse", "--show-prefix").strip()
    with Path(exclude.strip()).open("a") as listed:
        listed.write(f"\n/{prefix}{file}\n")


def _keep_link(dataset: str, name: str) -> None:
    """Where git has source/ as a link, let the experiment have that one, and not the clone's."""
    at = run_git(Path(), "rev-parse", "--show-prefix").strip() + f"data/{dataset}/source"
    top = Path(run_git(Path(), "rev-parse", "--show-toplevel").strip())
    mode, _, blob, *_ = (run_git(top, "ls-tree", "HEAD", "--", at) or "- - -").split()
    if mode != LINK:
        return
    (ref,) = _refs(top, name)
    run_git(top, "read-tree", ref)
    run_git(top, "update-index", "--cacheinfo", f"{mode},{blob},{at}")
    tree = run_git(top, "write-tree").strip()
    made = run_git(top, "commit-tree", "-p", "HEAD", "-m", f"experiment {name}", tree).strip()
    run_git(top, "read-tree", ref)  # as DVC left it, for the next one
    run_git(top, "update-ref", ref, made)


def _bring(root: Path, name: str) -> None:
    """Take an experiment over from the clone, in place of one whose bins are gone."""
    (ref,) = _refs(root, name)
    top = run_git(root, "rev-parse", "--show-toplevel").strip()
    run_git(Path(), "fetch", "-q", "--no-tags", "--no-write-fetch-head", top, f"+{ref}:{ref}")
    for other in _refs(Path(), name):
        if other != ref:
            run_git(Path(), "update-ref", "-d", other)


def _refs(folder: Path, name: str) -> list[str]:
    """The experiments of this name; more than one where they hang on several commits."""
    listed = run_git(folder, "for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
    return [ref for ref in listed if ref.endswith(f"/{name}")]
