"""How are bins opened? The manifest is checked, and the arrays are mapped."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from slm.bins.format import MANIFEST, REPAIR
from slm.bins.items import Documents
from slm.bins.manifest import Manifest, has_rows, lengths_of, read_manifest, shard_names, wrong_size
from slm.bins.shards import ShardedIds
from slm.bins.verifying import check_bytes
from slm.core.errors import check, packages_of


class Bins(NamedTuple):
    """An opened folder of bins."""

    folder: Path
    manifest: Manifest
    revision: str | None = None  # the commit, if they were opened by revision
    far: Any = None  # what brings files of bins at a URL (slm.stores.bringing.Far)

    @property
    def version(self) -> str:
        """One printable line that identifies these bins by the hash of their content."""
        manifest, revision = self.manifest, f"@{self.revision}" if self.revision else ""
        return (
            f"{manifest['dataset']['name']}{revision} {manifest['tokenizer']['encoding']} "
            f"end_of_text={manifest['end_of_text']} sha256:{manifest['sha256']}"
        )

    def ids(self, split: str) -> Any:
        """Returns the ids of a split, (tokens,) uint16 or uint32, mapped and read-only.

        They are an array; of bins in shards a ShardedIds, which is indexed as one.
        """
        entry, dtype = self.manifest["splits"][split], np.dtype(self.manifest["dtype"])
        files = [self.folder / f"{name}.bin" for name in shard_names(split, entry)]
        self.need(path.name for path in files)
        self.check_same()
        if "shard_tokens" in self.manifest:
            cut = entry["tokens"], self.manifest["shard_tokens"]
            return self.check_same(ShardedIds(files, *cut, dtype.newbyteorder("<")))
        if not files[0].stat().st_size:
            return np.empty(0, dtype)  # an empty file cannot be mapped
        return self.check_same(np.memmap(files[0], dtype.newbyteorder("<"), "r"))

    def docs(self, split: str) -> np.ndarray:
        """Returns (documents + 1, 2) uint64: offsets in tokens and in bytes of text, mapped.

        Those of bins in shards are read, 16 bytes a document.
        """
        return self.check_same(self._by_document(split, "docs.npy"))

    def documents(self, split: str) -> Documents:
        """Returns the documents of a split, a sequence of what has `.ids` and `.text`."""
        return Documents(self, split)

    def rows(self, split: str) -> np.ndarray | None:
        """Returns (documents,) uint64: rows of the source split, mapped; None if they are all."""
        if not has_rows(split, self.manifest["splits"][split]):
            return None
        return self.check_same(self._by_document(split, "rows.npy"))

    def _by_document(self, split: str, kind: str) -> np.ndarray:
        names = tuple(shard_names(split, self.manifest["splits"][split]))
        self.need(f"{name}.{kind}" for name in names)
        if "shard_tokens" in self.manifest:
            self.check_same()
            return _end_to_end(self.folder, names, kind, self.manifest["sha256"])
        return np.load(self.folder / f"{split}.{kind}", mmap_mode="r")

    @property
    def vocab_size(self) -> int:
        """Returns the number of ids, special tokens included."""
        return self.manifest["tokenizer"]["vocab_size"]

    @property
    def end_of_text(self) -> int | None:
        """Returns the id that ends a document; None if the tokenizer has none."""
        return self.manifest["tokenizer"]["end_of_text"]

    @property
    def vocabulary(self) -> Any:
        """Returns what encoded the text: a tiktoken.Encoding or a tokenizers.Tokenizer."""
        encoding = self.encoding
        return getattr(encoding, "tokenizer", encoding)

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a text, as the documents of these bins were encoded.

        Raises ValueError if it has a run of 999,999 or more whitespace characters.
        """
        from slm.tokens.vocabulary import encode  # needs tiktoken, and reading bins does not

        return encode(self.encoding, text).tolist()

    def decode(self, ids: Any) -> str:
        """Returns the text of ids, (tokens,): a list, an array or a tensor.

        Bytes that are not UTF-8 by themselves become U+FFFD. Raises UserError, a ValueError, if an
        id is not of the vocabulary.
        """
        numbers = ids.tolist() if hasattr(ids, "tolist") else list(ids)
        for number in numbers:
            known = isinstance(number, int | np.integer) and 0 <= number < self.vocab_size
            wrong = f"{number!r} is no id; expected whole numbers below {self.vocab_size}"
            check(bool(known), wrong)
        return self.encoding.decode(numbers)

    @property
    def token_bytes(self) -> np.ndarray:
        """Returns (vocab_size,) int64: how many bytes of text each id stands for, 0 for special.

        It is made once and read-only.
        """
        self.need(self.manifest.get("vocabulary", {}))
        self.check_same()
        return _token_bytes(self.folder, self.manifest["sha256"])

    @property
    def encoding(self) -> Any:
        """Returns what encodes and decodes text as these bins do (slm.tokens.reference)."""
        self.need(self.manifest.get("vocabulary", {}))
        self.check_same()
        return _loaded(self.folder, self.manifest["sha256"])

    def need(self, names: Iterable[str] | None) -> None:
        """Brings files, by name (None: all), if these bins are at a URL and they are not here."""
        if self.far is not None:
            self.far.bring(names)

    def check_same(self, mapped: Any = None) -> Any:
        """Returns `mapped`; raises UserError if the folder was replaced since it was opened."""
        try:
            about = (self.folder / MANIFEST).stat()
        except OSError:
            about = None
        stamp = about and (about.st_ino, about.st_mtime_ns, about.st_size)
        here = _sha256_of(self.folder, stamp) == self.manifest["sha256"]
        check(here, f"{self.folder} has other bins than when it was opened; open it again")
        return mapped


@lru_cache(maxsize=64)
def _sha256_of(folder: Path, stamp: tuple | None) -> str:
    """Returns the hash of the bins in `folder`, whose manifest's file has this stamp."""
    return read_manifest(folder)["sha256"]


@lru_cache(maxsize=8)
def _end_to_end(folder: Path, names: tuple[str, ...], kind: str, sha256: str) -> np.ndarray:
    """Returns what all shards have by document, in the bins in `folder` with this hash."""
    joined = np.concatenate([np.load(folder / f"{name}.{kind}") for name in names])
    joined.flags.writeable = False
    return joined


@lru_cache(maxsize=8)
def _loaded(folder: Path, sha256: str) -> Any:
    """Returns the encoding of the bins in `folder`, whose manifest has this hash."""
    with packages_of("train"):
        from slm.tokens.vocabulary import load_described

        return load_described(read_manifest(folder)["tokenizer"], folder)


@lru_cache(maxsize=8)
def _token_bytes(folder: Path, sha256: str) -> np.ndarray:
    from slm.tokens.vocabulary import token_bytes

    table = token_bytes(_loaded(folder, sha256))
    table.flags.writeable = False
    return table


def open_bins(path: str | Path, *, verify: bool = False) -> Bins:
    """Opens a folder of bins; with `verify` reads every byte first.

    Raises UserError, a ValueError, if a file is missing or has a wrong length, and with `verify` if
    a byte differs from the manifest. For bins of another revision see slm.versions.open_revision.
    """
    return open_folder(Path(path), verify, REPAIR)


def open_folder(
    folder: Path, verify: bool, cure: str, revision: str | None = None, partial: bool = False
) -> Bins:
    """Opens a folder of bins; if `partial`, files may be missing. UserErrors end in `cure`."""
    manifest = read_manifest(folder)
    for name, length in lengths_of(manifest):
        if partial and not (folder / name).exists():
            continue
        wrong = wrong_size(folder / name, length)
        check(not wrong, f"{folder / name} {wrong}; {cure}")
    if verify:
        check_bytes(folder, cure)
    return Bins(folder, manifest, revision)
