"""The files of a stand-in for the Hugging Face hub, and what its endpoints say of them."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class File:
    """A published file: where its bytes are, and its names in git and in Git LFS."""

    content: bytes | Path
    size: int
    git: str  # SHA-1, as git names a blob (of a file on disk: its SHA-256, cut; nobody looks)
    sha256: str
    lfs: bool


@dataclass
class Repository:
    """Commits and the files of each; branches and tags; who may read."""

    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False


def describe(name: str, content: bytes | Path) -> File:
    lfs = not name.endswith((".md", ".yaml", ".gitattributes", ".json", ".jsonl", ".csv"))
    if isinstance(content, Path):
        with content.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return File(content, content.stat().st_size, sha256[:40], sha256, lfs)
    git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    return File(content, len(content), git, hashlib.sha256(content).hexdigest(), lfs)


def described(file: File, key: str) -> dict:
    lfs = {"size": file.size, key: file.sha256, "pointerSize": 134}
    return {"size": file.size, "blobId": file.git, "lfs": lfs if file.lfs else None}


def entries(files: dict[str, File], paths: list[str]) -> list[dict]:
    """What the tree and paths-info endpoints say of the paths that exist."""
    listed = []
    for path in paths:
        if path in files:
            entry = described(files[path], "oid")
            entry["oid"] = entry.pop("blobId")
            listed.append(
                {"type": "file", "path": path, **{k: v for k, v in entry.items() if v is not None}}
            )
        elif any(name.startswith(f"{path}/") for name in files):
            listed.append({"type": "directory", "path": path, "oid": "0" * 40, "size": 0})
    return listed
