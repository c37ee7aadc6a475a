"""What is said of bins in every kind of card? From their manifest alone.

In: the manifest of a folder of bins. Out: words about the source, the text and the tokens.
"""

from slm.bins.manifest import Manifest

POLICIES = {
    "none": "no id between documents",
    "append": "the end-of-text id after each document",
    "prepend": "the end-of-text id before each document",
}


def origin(manifest: Manifest) -> str:
    """Where the text comes from, in a few words."""
    source = manifest["dataset"]
    if source["kind"] == "hub":
        return f"{source['path']} on the Hugging Face hub, revision {source['revision']}"
    if source["kind"] == "generated":
        return f"stories that slm generates from seed {source['seed']}"
    names = [file["name"] for files in source["files"].values() for file in files]
    at_urls = [name for name in names if "://" in name]
    if at_urls:
        return f"{len(names):,} files at their URLs, {at_urls[0]} the first"
    return "files of their author's own"


def selection(manifest: Manifest) -> list[str]:
    """What each step of the selection took and left, a line each; none where all was taken."""
    steps = manifest["selection"]["steps"] if "selection" in manifest else []
    return [
        f"{step['step']} of {step['split']}: {step['took']['documents']:,} documents"
        f"{' into ' + step['into'] if 'into' in step else ''}, {step['left']['documents']:,} left"
        for step in steps
    ]


def tokenizer(manifest: Manifest) -> list[str]:
    """What encoded the text, a line each: its size, its license and what it loses."""
    about, policy = manifest["tokenizer"], POLICIES[manifest["end_of_text"]]
    end = about["end_of_text"]
    named = "no end-of-text" if end is None else f"end-of-text {end}"
    kind = f" ({about['model']})" if "model" in about else ""
    kind += f" of {about['source']}" if "source" in about else ""
    size = f"{about['vocab_size']:,} ids"
    lines = [f"Tokenizer: {about['encoding']}{kind}, {size}, {named}; {policy}"]
    if special := about.get("special_tokens"):
        lines.append(f"Special tokens: {', '.join(special)}")
    if "license" in about:
        lines.append(f"License of its ranks: {about['license']}")
    for split, lossy in manifest.get("lossy_documents", {}).items():
        rows = sum(file["rows"] for file in manifest["dataset"]["files"][split])
        what = "Lossy: their ids do not give back the text of" if lossy else "Lossless on"
        number = f"{lossy:,} of {rows:,}" if lossy else f"all {rows:,}"
        lines.append(f"{what} {number} {split} documents of the source")
    return lines


def url(manifest: Manifest) -> str | None:
    """The page of the source, where it has one."""
    source = manifest["dataset"]
    return f"https://huggingface.co/datasets/{source['path']}" if source["kind"] == "hub" else None


def summary(manifest: Manifest) -> str:
    """What the bins are, in one sentence."""
    splits = manifest["splits"].values()
    tokens, documents = (sum(split[key] for split in splits) for key in ("tokens", "documents"))
    return (
        f"{tokens:,} tokens of {documents:,} documents by {manifest['tokenizer']['encoding']}, "
        f"{POLICIES[manifest['end_of_text']]}, as {manifest['dtype']} without a header; the text "
        f"is {origin(manifest)}."
    )
