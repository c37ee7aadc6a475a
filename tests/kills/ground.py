"""A workspace of which everything is known: what was built undisturbed, and what differs from it.

A `Ground` holds a small dataset of every kind of file, built for two values of end_of_text; the
hashes of all files that came out are the truth. The crash tests spoil it and ask it what is wrong.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from dvc.repo import Repo

from slm.bins.verifying import damage
from slm.text.raw import json_line
from slm.text.stories import stories
from tests.workspace import add_dataset, commit, edit, environment, hashes, script, workspace

OUTS = ("raw", "facts", "selection", "vocabulary", "tokens", "bins")
SCRIPTS = (
    *("download", "audit", "select_documents", "make_vocabulary", "tokenize_text", "write_bins"),
)
SAID = (
    "download:",
    "audit:",
    "select:",
    "vocabulary:",
    "tokenize:",
    "bins:",
)  # what each says when it is done
FILES = """column: text
separator: "<|next|>"
files: {train: [a.parquet, b.jsonl, c.txt], validation: [d.jsonl]}"""


class Ground:
    """A workspace, what is true of it, and how long each process takes there."""

    def __init__(self, folder: Path, documents: int = 1000) -> None:
        self.root, self.data = workspace(folder), folder / "data" / "faults"
        self.metrics = folder / "metrics" / "faults"
        _fill(add_dataset(folder, "faults", FILES), documents)
        commit(folder)
        self.clean = {name: (folder / name).read_bytes() for name in ("dvc.lock", "params.yaml")}
        self.policy, self.truth, self._seconds = "none", {}, {}
        for policy in ("append", "none"):
            self.set_policy(policy)
            self._time("make_data")
            self.truth[policy] = {out: hashes(self.data / out) for out in OUTS}
            self.truth[policy]["metrics"] = hashes(self.metrics)

    def seconds(self, name: str) -> float:
        """How long a script takes, measured when first asked for (make_data: from nothing)."""
        if name not in self._seconds:
            self._time(name)
        return self._seconds[name]

    def _time(self, name: str) -> None:
        start = time.monotonic()
        script(self.root, name, "faults")
        self._seconds.setdefault(name, time.monotonic() - start)

    # --- making a state ---

    def set_policy(self, policy: str) -> None:
        """Set end_of_text."""
        if policy != self.policy:
            old, new = f"end_of_text: {self.policy} ", f"end_of_text: {policy} "
            edit(self.root / "params.yaml", old, new)
            self.policy = policy

    def remove(self, *outs: str, cache: bool = True, records: bool = False) -> None:
        """Remove outputs, DVC's cache, and what dvc.lock and params.yaml say of the dataset."""
        for out in outs:
            shutil.rmtree(self.data / out, ignore_errors=True)
        if cache:
            shutil.rmtree(self.root / ".dvc" / "cache", ignore_errors=True)
        if records:
            for name, content in self.clean.items():
                (self.root / name).write_bytes(content)
            self.policy = "none"

    def repair(self) -> None:
        """The truth again, whatever there is."""
        shutil.rmtree(self.root / ".dvc" / "tmp", ignore_errors=True)
        self.remove(*OUTS, records=True)
        script(self.root, "make_data", "faults")

    def start(self, name: str, *words: str, env: dict | None = None) -> subprocess.Popen:
        """A script (or `python -m` the words) in a session of its own, as a terminal gives one."""
        words = (sys.executable, "-m", *(words or (f"scripts.{name}", "faults")))
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        env = {**environment(self.root), **(env or {})}
        return subprocess.Popen(words, cwd=self.root, env=env, start_new_session=True, **pipes)

    # --- asking about it ---

    def rerun(self) -> list[str]:
        """What is wrong with running `make data` again."""
        job = self.start("make_data")
        said, _ = job.communicate(timeout=120)
        wrong = [f"the rerun ended in {job.returncode}: {said.strip()}"] if job.returncode else []
        for out, line in zip(OUTS, SAID, strict=True):
            left = [p.name for p in self.data.glob(f"{out}.*.tmp") if not _lives(p)]
            wrong += [f"left behind: {left}"] if left and line in said else []
        objects = (self.root / ".dvc/cache/files/md5").glob("*/.*.tmp")
        return wrong + [f"left in the cache: {path}" for path in objects if "built" in said]

    def different(self) -> list[str]:
        """What is not as it was built undisturbed, by hash, by verify and by DVC."""
        if not all((self.data / out).exists() for out in OUTS):  # bins alone are enough for us
            self.start("dvc", "dvc", "repro").communicate(timeout=120)
        said, _ = self.start("verify").communicate(timeout=60)
        wrong = [] if "every byte" in said else [said.strip()]
        with Repo(str(self.root)) as repo:
            wrong += (
                [f"dvc status: {status}"]
                if (status := repo.status([str(self.root / "dvc.yaml")]))
                else []
            )
        truth = self.truth[self.policy]
        wrong += [f"{o} differs" for o in OUTS if hashes(self.data / o) != truth[o]]
        return wrong + ["metrics differ"] * (hashes(self.metrics) != truth["metrics"])

    def not_whole(self) -> list[str]:
        """What lies under its final name, is not whole, and would be taken for it."""
        wrong = []
        for out in OUTS:
            folder, truths = self.data / out, [truth[out] for truth in self.truth.values()]
            if folder.exists() and hashes(folder) not in truths:
                # DVC brings bins from its cache file by file; opening those is refused
                noticed = out == "bins" and list(damage(folder))
                wrong += [] if noticed else [f"{out} is not whole: {sorted(hashes(folder))}"]
        known = [of for truth in self.truth.values() for of in truth["metrics"].items()]
        made = {n: h for n, h in hashes(self.metrics).items() if not n.endswith(".tmp")}
        wrong += [
            f"{name} is not whole" for name, found in made.items() if (name, found) not in known
        ]
        for name, key in (("dvc.lock", "schema"), ("params.yaml", "dataset")):
            if key not in (yaml.safe_load((self.root / name).read_bytes()) or {}):
                wrong.append(f"{name} is not whole")
        return wrong + [f"{path} is corrupt" for path in self.corrupt()]

    def objects(self) -> list[Path]:
        """The objects of DVC's cache."""
        found = (self.root / ".dvc/cache/files/md5").glob("[0-9a-f][0-9a-f]/*")
        return sorted(path for path in found if not path.name.endswith(".tmp"))

    def corrupt(self) -> list[Path]:
        """The objects that do not have the hash that names them."""
        named = {path: (path.parent.name + path.name).split(".")[0] for path in self.objects()}
        return [path for path, name in named.items() if _md5(path) != name]


def _fill(source: Path, documents: int) -> None:
    """A third of the train stories of each kind of file; .txt is what raw/ copies."""
    texts = list(stories(7, "train", documents))
    pq.write_table(pa.table({"text": texts[0::3]}), source / "a.parquet", row_group_size=200)
    for name, rows in (("b", texts[1::3]), ("d", stories(7, "validation", documents // 20))):
        (source / f"{name}.jsonl").write_bytes(b"".join(json_line("text", t) for t in rows))
    (source / "c.txt").write_text("<|next|>".join(texts[2::3]))


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _lives(left: Path) -> bool:
    process = left.name.split(".")[1]
    return process.isdigit() and psutil.pid_exists(int(process)) and int(process) != os.getpid()
