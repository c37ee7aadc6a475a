"""How do people read what bins are? A dataset card of the Hugging Face hub.

In: the manifest of a folder of bins. Out: README.md: YAML that the hub reads, then Markdown.
Source of the keys: https://huggingface.co/docs/hub/datasets-cards
"""

import yaml

from slm.bins.manifest import Manifest
from slm.cards.about import origin, selection, summary, tokenizer, url

SIZES = (  # documents below a bound, and the hub's word for as many
    (10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"), (10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"),
)  # fmt: skip
LICENSES = {"odc-by-1.0": "odc-by"}  # SPDX in lower case is the hub's word for most


def readme(manifest: Manifest) -> bytes:
    """Returns the card of these bins."""
    front = yaml.safe_dump(_front(manifest), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n{_body(manifest)}".encode()


def _front(manifest: Manifest) -> dict[str, object]:
    source = manifest["dataset"]
    documents = sum(split["documents"] for split in manifest["splits"].values())
    license_ = source.get("license", "").lower()
    known = {
        "pretty_name": f"{source['name']}, tokenized by {manifest['tokenizer']['encoding']}",
        "license": LICENSES.get(license_, license_),
        "task_categories": ["text-generation"],
        "size_categories": [next((word for top, word in SIZES if documents < top), "n>1T")],
        "source_datasets": [source["path"]] if source["kind"] == "hub" else None,
        "tags": ["tokenized", "pretraining"],
    }
    return {key: value for key, value in known.items() if value}


def _body(manifest: Manifest) -> str:
    source = manifest["dataset"]
    splits = [
        f"| {name} | {split['documents']:,} | {split['tokens']:,} | {split['text_bytes']:,} |"
        for name, split in manifest["splits"].items()
    ]
    page = f" ({url(manifest)})" if url(manifest) else ""
    lines = [
        f"# {source['name']}, as token bins",
        "",
        summary(manifest),
        "",
        "| split | documents | tokens | bytes of text |",
        "|---|---:|---:|---:|",
        *splits,
        "",
        f"- Text: {origin(manifest)}{page}.",
        f"- License of the text: {source.get('license', 'not stated')}.",
        *([f"- Cite: {source['cite']}."] if source.get("cite") else []),
        *(f"- {line}." for line in tokenizer(manifest)),
        *(f"- Selection: {line}." for line in selection(manifest)),
        f"- Version: manifest.json has SHA-256 {manifest['sha256']} of itself, and that of each "
        "16 MiB of each file; croissant.json has that of each whole file.",
        "",
        "```python",
        "import numpy as np",
        "",
        *_reading(manifest),
        "```",
        "",
    ]
    return "\n".join(lines)


def _reading(manifest: Manifest) -> list[str]:
    """How NumPy reads the first split."""
    name, split = next(iter(manifest["splits"].items()))
    docs, dtype = "(documents + 1, 2): offsets in tokens, in bytes", manifest["dtype"]
    if "shards" not in split:
        return [
            f'ids = np.memmap("{name}.bin", dtype=np.{dtype}, mode="r")',
            f'docs = np.load("{name}.docs.npy")  # {docs}',
        ]
    count = len(split["shards"])
    return [
        f'shards = [f"{name}-{{i:05d}}-of-{count:05d}" for i in range({count})]',
        f'ids = [np.memmap(f"{{shard}}.bin", dtype=np.{dtype}, mode="r") for shard in shards]',
        'docs = np.concatenate([np.load(f"{shard}.docs.npy") for shard in shards])',
        f"# {docs}",
    ]
