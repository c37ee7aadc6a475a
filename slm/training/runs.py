"""What does a tokenization do to a model? The same small GPT, trained on the bins of each variant.

In: folders of bins, all of one dataset, params.yaml's `training`, and the device. Out: the file
<out>/<device>.json: for each variant what a training on so many bytes of text came to, in bits a
byte of the whole validation split (slm.training.bits), for each seed and over them. Variants see the
same bytes of text, in expectation, and so not the same number of tokens or steps.

The file is written after each variant. A later call with the same device, machine, settings,
library versions and code takes from it what it has of the bins that are asked for; other bins are
left out of it. Needs NumPy, PyTorch and tiktoken alone.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import torch

from slm.bins.opening import Bins, open_bins
from slm.core.errors import UserError
from slm.core.files import to_json, write_file
from slm.core.rounding import rounded
from slm.training.hardware import device_name, kebab, training_machine
from slm.training.trainer import Fitted, fit

ROOT = Path(__file__).parents[2]
CODE = ("slm/batching", "slm/training")  # what decides a result
SPLITS = ("train", "validation")
# Products of matrices are the same each time with this alone: an environment variable that cuBLAS
# reads as it starts, and its value. A command sets it before it trains.
WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
ON_CPU = 2  # variants, those with the smallest vocabularies, and one seed: the rest takes hours


def train(
    folders: list[Path],  # of bins
    settings: dict,  # params.yaml's `training`
    device: torch.device,
    out: Path,  # a folder, made where it is missing
    fresh: bool = False,  # train again what the file has
    say: Callable[[str], None] = lambda line: None,  # told what is about to run
) -> dict:
    """Train on all of them, keep the result, and return it as written.

    On the CPU the two smallest vocabularies and the first seed alone. On a GPU the caller sets
    WORKSPACE in the environment first, or PyTorch refuses. Raises UserError where there is no
    bin to train or to score on, and where the datasets differ.
    """
    asked = _opened(folders, settings["block_size"])
    variants, seeds = _chosen(asked, settings["seeds"], device)
    path, result = out / f"{kebab(device_name(device))}.json", _about(settings, device)
    if device.type == "cpu":
        left = [_name(bins) for bins in asked if bins not in variants]
        result["left_out"] = {"variants": left, "seeds": settings["seeds"][len(seeds) :]}
    _make(out)
    known = {} if fresh else kept(path, result)
    for bins in variants:
        key = _key(bins)
        if key not in known:
            known[key] = rounded(_trained(bins, seeds, settings, device, say))
        result["variants"] = [known[_key(bins)] for bins in variants if _key(bins) in known]
        write_file(path, to_json(result))
    return result


def named(encoding: str, end_of_text: str) -> str:
    """What a variant is called here: its encoding, and its end-of-text policy if it has one."""
    return encoding if end_of_text == "none" else f"{encoding} {end_of_text}"


def kept(path: Path, result: dict) -> dict[str, dict]:
    """The variants that a file has, by the hash of their bins.

    None, where `result` is about another device, machine, setting, version or code.
    """
    try:
        found = json.loads(path.read_bytes())
        same = all(found[key] == value for key, value in result.items() if key != "left_out")
        whole = (of for of in found["variants"] if {"bits_per_byte", "runs", "parameters"} <= {*of})
        return {of["data"]: of for of in whole} if same else {}
    except (FileNotFoundError, ValueError, LookupError, TypeError):  # or of another form
        return {}


def code() -> str:
    """A SHA-256 of the modules in CODE."""
    digest = hashlib.sha256()
    for folder in CODE:
        for file in sorted((ROOT / folder).glob("*.py")):
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _about(settings: dict, device: torch.device) -> dict:
    return {
        "device": device_name(device),
        "kind": device.type,
        "machine": training_machine(),
        "settings": rounded(settings),
        "code": code(),
    }


def _opened(folders: list[Path], block_size: int) -> list[Bins]:
    """The bins, each once; UserError where they cannot be compared or trained on."""
    opened = list({_key(bins): bins for bins in map(open_bins, folders)}.values())
    for bins in opened:
        splits = bins.manifest["splits"]
        for split in SPLITS:
            if split not in splits:
                raise UserError(f"{bins.folder} has no split {split!r}, only {', '.join(splits)}")
            if splits[split]["tokens"] <= block_size:
                raise UserError(
                    f"{bins.folder}: {split} has {splits[split]['tokens']:,} tokens, and a row "
                    f"takes {block_size + 1:,}; choose a smaller training.block_size"
                )
        if _text(bins) != _text(opened[0]):
            raise UserError(
                f"{opened[0].folder} and {bins.folder} are not of the same text; name bins of one "
                "dataset, built from the same files"
            )
    return opened


def _make(out: Path) -> None:
    """Now, not after minutes of training, for which there would be no place."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: {error.strerror}; name another folder with --out") from None
    if not os.access(out, os.W_OK):
        raise UserError(f"{out} cannot be written; name another folder with --out")


def _text(bins: Bins) -> tuple[str, dict]:
    """The name and the files, with their hashes, of the text that they were made from."""
    return bins.manifest["dataset"]["name"], bins.manifest["dataset"]["files"]


def _chosen(bins: list[Bins], seeds: list[int], device: torch.device) -> tuple[list, list]:
    if device.type != "cpu":
        return bins, seeds
    smallest = sorted(bins, key=lambda one: one.manifest["tokenizer"]["vocab_size"])[:ON_CPU]
    return [one for one in bins if one in smallest], seeds[:1]


def _name(bins: Bins) -> str:
    return named(bins.manifest["tokenizer"]["encoding"], bins.manifest["end_of_text"])


def _key(bins: Bins) -> str:
    return bins.manifest["sha256"]


def _trained(bins: Bins, seeds: list[int], settings: dict, device: torch.device, say) -> dict:
    """What the file has of one variant."""
    train, vocabulary = bins.manifest["splits"]["train"], bins.manifest["tokenizer"]
    a_step = settings["batch_size"] * settings["block_size"]  # tokens
    bytes_per_step = a_step * train["text_bytes"] / train["tokens"]
    steps = max(1, round(settings["bytes"] / bytes_per_step))
    fitted = {}
    for seed in seeds:
        say(f"training on {_name(bins)} with seed {seed}")
        fitted[seed] = fit(bins, seed, steps, settings, device)
    return {
        "data": _key(bins),
        "encoding": vocabulary["encoding"],
        "vocab_size": vocabulary["vocab_size"],
        "end_of_text": bins.manifest["end_of_text"],
        "parameters": fitted[seeds[0]].parameters._asdict(),
        "steps": steps,
        "tokens": steps * a_step,
        "bytes": round(steps * bytes_per_step),
        **_graph([*fitted.values()]),
        "runs": [_run(seed, of, bytes_per_step) for seed, of in fitted.items()],
        "bits_per_byte": _spread([of.curve[-1][2] for of in fitted.values()]),
    }


def _graph(fitted: list[Fitted]) -> dict:
    failed = next((of.failed for of in fitted if of.failed), None)
    return {"graph": all(of.graph for of in fitted)} | ({"graph_failed": failed} if failed else {})


def _run(seed: int, fitted: Fitted, bytes_per_step: float) -> dict:
    _, seconds, bits = fitted.curve[-1]
    curve = [[round(step * bytes_per_step), *point] for step, *point in fitted.curve]
    return {"seed": seed, "bits_per_byte": bits, "seconds": seconds, "curve": curve}


def _spread(bits: list[float]) -> dict:
    return {"mean": mean(bits), "low": min(bits), "high": max(bits)}
