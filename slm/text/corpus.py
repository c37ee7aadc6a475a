"""Where does text come from?

In: one entry of `datasets:` in params.yaml and the dataset's source/ folder.
Out: a raw/ folder as slm.text.raw describes it. Same source, same bytes.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from slm.core.entries import ABOUT, check_entry
from slm.core.errors import UserError
from slm.core.files import to_json
from slm.text.by_url.taking import is_by_url, take_urls
from slm.text.hub.download import take_hub
from slm.text.local import take_files
from slm.text.raw import PART_BYTES, json_line, raw_name
from slm.text.stories import stories


def make_raw(name: str, entry: dict, source: Path, raw: Path) -> dict:
    """Fill the empty folder `raw` from dataset `name`; return what source.json now holds.

    Raises UserError where the source is not as params.yaml says, with file and row.
    """
    check_entry(name, entry)
    make = {"generated": _generate, "files": take_files, "hub": take_hub}[entry["kind"]]
    make = take_urls if is_by_url(entry) else make
    identity, splits = make(entry, source, raw)
    for split, of_split in splits.items():
        if not sum(file["rows"] for file in of_split["files"]):
            raise UserError(f"{name}: split {split} has no documents; expected at least one")
    splits = dict(sorted(splits.items()))  # a mapping has no order to DVC, so to our bytes neither
    identity |= {key: entry[key] for key in ABOUT if entry.get(key)}
    actual = {"name": name, "kind": entry["kind"], **identity, "splits": splits}
    (raw / "source.json").write_bytes(to_json(actual))
    return actual


def _generate(entry: dict, _source: Path, raw: Path) -> tuple[dict, dict]:
    splits = {}
    for split, documents in entry["documents"].items():
        path = raw / raw_name(split, 0, 1, ".jsonl")
        texts = stories(entry["seed"], split, documents)
        bar = tqdm(texts, f"{split} stories", documents, delay=2, disable=None)
        sha256, rows = _write_stories(path, bar)
        files = [{"name": "stories", "rows": rows, "sha256": sha256}]
        splits[split] = {"raw": [path.name], "files": files}
    return {"column": "text", "seed": entry["seed"]}, splits


def _write_stories(path: Path, texts: Iterable[str]) -> tuple[str, int]:
    digest, rows = hashlib.sha256(), 0
    with path.open("xb", PART_BYTES) as file:
        for text in texts:
            line = json_line("text", text)
            file.write(line)
            digest.update(line)
            rows += 1
    return digest.hexdigest(), rows
