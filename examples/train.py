"""Train a small GPT on bins: on the CPU, one GPU, or several.

    python train.py --bins data/sample/bins --out runs/sample
    torchrun --nproc-per-node 4 train.py --bins data/sample/bins --out runs/sample --model 12 12 768

Prints a line of JSON per report, and writes <out>/checkpoint.pt as often, by a rename. The same
command goes on from it, on the CPU to the weights of an uninterrupted run. Needs the extra `train`.
"""

import argparse
import io
import json
import os
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from slm import Batches, Mixture, bits_per_byte, open_bins
from slm.batching import distributed
from slm.core.errors import check, run_main
from slm.core.files import write_file
from slm.training.model import Size
from slm.training.occurring import classes_of, model_of
from slm.training.trainer import adamw, rate

FREE = ("bins", "out", "every", "score")  # what decides no weight, or has its hash in a version


def arguments() -> argparse.Namespace:
    """Returns what the command line asks for."""
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--bins", nargs="+", required=True, help="folders of bins, or s3://…")
    add("--weights", nargs="+", type=int, help="of several: rows of each, such as 3 1; else equal")
    add("--out", type=Path, required=True, help="the folder of the checkpoint")
    add("--model", nargs=3, type=int, default=[4, 4, 128], help="layers, heads, width")
    add("--steps", type=int, default=1000, help="of the whole run; the learning rate follows it")
    add("--batch-size", type=int, default=16, help="rows per step, of all ranks together")
    add("--block-size", type=int, default=64, help="tokens per row")
    add("--order", choices=("shuffled", "random", "packed"), default="shuffled", help="of rows")
    add("--learning-rate", type=float, default=argparse.SUPPRESS, help="else 0.768 / width")
    add("--seed", type=int, default=1337, help="of weights and batches")
    add("--every", type=int, default=100, help="steps from one report and checkpoint to the next")
    add("--score", type=int, default=1000, help="steps from one score on validation to the next")
    return parser.parse_args()


def main() -> None:
    """Trains on this rank; its model is gone before the connection, whose end would wait for it."""
    learn(arguments(), begin())
    if dist.is_initialized():
        dist.barrier()  # the first rank scores last
        dist.destroy_process_group()


def learn(args: argparse.Namespace, device: torch.device) -> None:
    """Trains until `--steps` are done, from the checkpoint where there is one."""
    bins, path = [open_bins(folder) for folder in args.bins], args.out / "checkpoint.pt"
    train, classes = draw(bins, args, device), classes_of(bins, bins[0].vocab_size)
    model = model_of(classes, Size(*args.model), args.block_size, args.seed, device)
    peak = vars(args).setdefault("learning_rate", 0.768 / args.model[2])
    optimizer = adamw(model, peak)
    parts = {"model": model, "optimizer": optimizer, "batches": train}
    about = {"bins": [one.version for one in bins], "vocabulary": bins[0].manifest["tokenizer"]}
    about["settings"] = {k: v for k, v in vars(args).items() if k not in FREE}
    resume(path, parts, about, device)
    say(device=str(device), step=train.step, steps=args.steps, bins=about["bins"])
    (rank, ranks), shape = distributed(), (args.batch_size, args.block_size, device)
    learner = DistributedDataParallel(model) if ranks > 1 else model
    start, tokens = time.perf_counter(), 0
    while train.step < args.steps:
        for group in optimizer.param_groups:
            group["lr"] = rate(train.step, args.steps, peak)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = learner(*train.get_batch())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step, tokens = train.step, tokens + args.batch_size * args.block_size
        if step % args.every == 0 or step % args.score == 0 or step == args.steps:
            speed = round(tokens / (time.perf_counter() - start))
            report = {"step": step, "loss": round(loss.item(), 4), "tokens_per_second": speed}
            if step % args.score == 0 or step == args.steps:
                bits = (bits_per_byte(model, one, "validation", *shape) for one in bins if not rank)
                report["bits_per_byte"] = [round(each, 4) for each in bits]
            save(path, parts, about)
            say(**report)
            start, tokens = time.perf_counter(), 0


def begin() -> torch.device:
    """Joins the other ranks where torchrun has started this one; returns this rank's device."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if "LOCAL_RANK" in os.environ:
        own = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if device.type == "cuda" else None
        if own:
            torch.cuda.set_device(own)
        dist.init_process_group("nccl" if own else "gloo", device_id=own)
    return device


def draw(bins: list, args: argparse.Namespace, device: torch.device) -> Batches:
    """Returns this rank's batches of `train`: of one folder, or mixed."""
    rank, ranks = distributed()
    rows, rest = divmod(args.batch_size, ranks)
    check(not rest, f"--batch-size {args.batch_size} is no multiple of the {ranks} ranks")
    options = {"batch_size": rows, "rank": rank, "world_size": ranks, "device": device}
    options |= {key: getattr(args, key) for key in ("block_size", "seed", "order", "steps")}
    if len(bins) == 1:
        return Batches(bins[0], "train", **options)
    weights = args.weights or [1] * len(bins)
    check(len(weights) == len(bins), f"{len(weights)} --weights for {len(bins)} --bins")
    sources, weights = (dict(zip(args.bins, each, strict=True)) for each in (bins, weights))
    return Mixture(sources, "train", weights=weights, **options)


def save(path: Path, parts: dict, about: dict) -> None:
    """Writes the checkpoint, whole or not at all, on the first rank."""
    if distributed()[0] == 0:
        content = io.BytesIO()
        torch.save({name: part.state_dict() for name, part in parts.items()} | about, content)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, content.getvalue())


def resume(path: Path, parts: dict, about: dict, device: torch.device) -> None:
    """Goes on from the checkpoint, if there is one; refuses one of other bins or settings."""
    for left in path.parent.glob(f"{path.name}.*.tmp"):  # of a run that was killed as it wrote
        left.unlink(missing_ok=True)
    if path.exists():
        state = torch.load(path, map_location=device, weights_only=True)
        had, now = ({"bins": of["bins"], **of["settings"]} for of in (state, about))
        other = [f"{key} {had.get(key)}, not {now[key]}" for key in now if had.get(key) != now[key]]
        check(not other, f"{path} was made with {'; '.join(other)}; `rm {path}`, or change --out")
        for name, part in parts.items():
            part.load_state_dict(state[name])


def say(**report: object) -> None:
    """Prints one line of JSON, on the first rank."""
    if distributed()[0] == 0:
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    run_main(main)
