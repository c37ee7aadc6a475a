"""What does a tokenization do to a model? The same small GPT is trained on each variant.

In: folders of bins, all of one dataset, params.yaml's `training`, and the device. Out: the file
<out>/<device>.json: for each variant and seed the bits per byte of the validation split
(slm.training.bits) after a training on the same bytes of text, in expectation; so the numbers of
tokens and steps differ.

The file is written after each variant. A later call with the same device, machine, settings,
library versions and code takes the known results of its bins from the file and removes those of
other bins. Needs NumPy, PyTorch and tiktoken alone.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from slm.bins.opening import Bins
from slm.core.errors import check
from slm.core.files import make_writable, to_json, write_file
from slm.core.rounding import rounded
from slm.stores.opening import open_bins
from slm.training.hardware import device_name, kebab, machine
from slm.training.trainer import Fitted, fit

ROOT = Path(__file__).parents[2]
CODE = ("slm/batching", "slm/training")  # decides a result
SPLITS = ("train", "validation")
# The environment variable that makes cuBLAS deterministic, and its value. cuBLAS reads it when it
# starts, so a command sets it before it trains.
WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
ON_CPU = 2  # variants, those of the smallest vocabularies, with one seed: all would take hours


def train(
    folders: list[Path],  # of bins
    settings: dict,  # params.yaml's `training`
    device: torch.device,
    out: Path,  # a folder, made if it is missing
    fresh: bool = False,  # train again, even with a known result
    say: Callable[[str], None] = lambda line: None,  # called with what runs next
) -> dict[str, Any]:
    """Trains on all of them, writes the result, and returns it.

    On the CPU it takes the two smallest vocabularies and the first seed. On a GPU the caller sets
    WORKSPACE in the environment first, else PyTorch refuses. Raises UserError if a split is missing
    or too short, and if the datasets differ.
    """
    opened = _opened(folders, settings["block_size"])
    variants, seeds = _chosen(opened, settings["seeds"], device)
    path = out / f"{kebab(device_name(device))}.json"
    result: dict[str, Any] = {
        "device": device_name(device),
        "kind": device.type,
        "machine": machine("torch", "numpy", "triton"),
        "settings": rounded(settings),
        "code": code(),
    }
    if device.type == "cpu":
        left = [_name(bins) for bins in opened if bins not in variants]
        result["left_out"] = {"variants": left, "seeds": settings["seeds"][len(seeds) :]}
    make_writable(out)
    known = {} if fresh else kept(path, result)
    for bins in variants:
        key = bins.manifest["sha256"]
        if key not in known:
            known[key] = rounded(_trained(bins, seeds, settings, device, say))
        keys = (variant.manifest["sha256"] for variant in variants)
        result["variants"] = [known[key] for key in keys if key in known]
        write_file(path, to_json(result))
    return result


def kept(path: Path, result: dict) -> dict[str, Any]:
    """Returns the variants of a file, by the hash of their bins.

    None if `result` is of another device, machine, setting, version or code.
    """
    keys = {"bits_per_byte", "runs", "parameters"}
    try:
        earlier = json.loads(path.read_bytes())
        same = all(earlier[key] == value for key, value in result.items() if key != "left_out")
        variants = earlier["variants"] if same else []
        return {variant["data"]: variant for variant in variants if keys <= {*variant}}
    except (FileNotFoundError, ValueError, LookupError, TypeError):  # or of another form
        return {}


def code() -> str:
    """Returns a SHA-256, in hexadecimal, of the modules in CODE."""
    digest = hashlib.sha256()
    for folder in CODE:
        for file in sorted((ROOT / folder).glob("*.py")):
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _opened(folders: list[Path], block_size: int) -> list[Bins]:
    """Returns the bins, each once; raises UserError if they cannot be trained on or compared."""
    opened = list({bins.manifest["sha256"]: bins for bins in map(open_bins, folders)}.values())
    for bins in opened:
        splits = bins.manifest["splits"]
        for split in SPLITS:
            names = ", ".join(splits)
            check(split in splits, f"{bins.folder} has no split {split!r}, only {names}")
            tokens = splits[split]["tokens"]
            check(
                block_size < tokens,
                f"{bins.folder}: {split} has {tokens:,} tokens, and a row takes "
                f"{block_size + 1:,}; choose a smaller training.block_size",
            )
        text, first = (each.manifest["dataset"] for each in (bins, opened[0]))
        check(
            (text["name"], text["files"]) == (first["name"], first["files"]),
            f"{opened[0].folder} and {bins.folder} are not of the same text; name bins of one "
            "dataset, built from the same files",
        )
    return opened


def _chosen(bins: list[Bins], seeds: list[int], device: torch.device) -> tuple[list, list]:
    if device.type != "cpu":
        return bins, seeds
    smallest = sorted(bins, key=lambda each: each.manifest["tokenizer"]["vocab_size"])[:ON_CPU]
    return [each for each in bins if each in smallest], seeds[:1]


def _name(bins: Bins) -> str:
    """Returns a variant's name: its encoding, and its end-of-text policy if it has one."""
    encoding = bins.manifest["tokenizer"]["encoding"]
    return f"{encoding} {bins.manifest['end_of_text']}".removesuffix(" none")


def _trained(
    bins: Bins, seeds: list[int], settings: dict, device: torch.device, say: Callable[[str], None]
) -> dict[str, Any]:
    train, vocabulary = bins.manifest["splits"]["train"], bins.manifest["tokenizer"]
    per_step = settings["batch_size"] * settings["block_size"]  # tokens
    bytes_per_step = per_step * train["text_bytes"] / train["tokens"]
    steps = max(1, round(settings["bytes"] / bytes_per_step))
    fitted = {}
    for seed in seeds:
        say(f"training on {_name(bins)} with seed {seed}")
        fitted[seed] = fit(bins, seed, steps, settings, device)
    bits = [model.curve[-1][2] for model in fitted.values()]
    failed = next((model.failed for model in fitted.values() if model.failed), None)
    return {
        "data": bins.manifest["sha256"],
        "encoding": vocabulary["encoding"],
        "vocab_size": vocabulary["vocab_size"],
        "end_of_text": bins.manifest["end_of_text"],
        "parameters": fitted[seeds[0]].parameters._asdict(),
        "steps": steps,
        "tokens": steps * per_step,
        "bytes": round(steps * bytes_per_step),
        "graph": all(model.graph for model in fitted.values()),
        **({"graph_failed": failed} if failed else {}),
        "runs": [_run(seed, model, bytes_per_step) for seed, model in fitted.items()],
        "bits_per_byte": {"mean": mean(bits), "low": min(bits), "high": max(bits)},
    }


def _run(seed: int, fitted: Fitted, bytes_per_step: float) -> dict[str, Any]:
    _, seconds, bits = fitted.curve[-1]
    curve = [[round(step * bytes_per_step), *point] for step, *point in fitted.curve]
    return {"seed": seed, "bits_per_byte": bits, "seconds": seconds, "curve": curve}
