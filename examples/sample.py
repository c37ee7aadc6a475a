"""Let a model that examples/train.py has trained go on with a text.

    python sample.py --bins data/sample/bins --out runs/sample --prompt "Once upon a time"

Prints the prompt and what the model writes after it, until end-of-text if the bins have it, else
`--tokens` tokens. The same seed gives the same text. Ids become text by the bins' own vocabulary;
a checkpoint of another one is refused.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch

from slm import open_bins
from slm.bins.opening import Bins
from slm.core.errors import check, run_main
from slm.training.model import Size
from slm.training.occurring import Occurring, model_of


def arguments() -> argparse.Namespace:
    """Returns what the command line asks for."""
    parser = argparse.ArgumentParser(description="Let a trained model go on with a text.")
    add = parser.add_argument
    add("--bins", required=True, help="the bins whose vocabulary it has")
    add("--out", type=Path, required=True, help="the folder of the checkpoint")
    add("--prompt", default="Once upon a time")
    add("--tokens", type=int, default=150, help="to write, at most")
    add("--temperature", type=float, default=0.7)
    add("--top-k", type=int, default=40, help="ids that are drawn from")
    add("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    """Prints the text."""
    args = arguments()
    bins = open_bins(args.bins)
    model = load(args.out / "checkpoint.pt", bins)
    prompt = bins.encode(args.prompt)
    check(bool(prompt), "the prompt is empty; give it a word")
    print(bins.decode([*prompt, *written(model, prompt, bins, args)]))


def load(path: Path, bins: Bins) -> Occurring:
    """Returns the model of a checkpoint; raises UserError without one, or of other vocabulary."""
    check(path.exists(), f"{path} not found; `make train`, or examples/train.py, writes it")
    state = torch.load(path, map_location="cpu", weights_only=True)
    had, has = state["vocabulary"], bins.manifest["tokenizer"]
    names = (
        f"{had['encoding']} of {had['vocab_size']:,} ids",
        f"{has['encoding']} of {has['vocab_size']:,}",
    )
    check(
        had == has,
        f"{path} has vocabulary {names[0]}, and {bins.folder} {names[1]}; "
        f"it was trained on {state['bins'][0]}",
    )
    settings = state["settings"]
    size, classes = Size(*settings["model"]), state["model"]["classes"]
    model = model_of(classes, size, settings["block_size"], seed=0)
    model.load_state_dict(state["model"])
    return model


@torch.no_grad()
def written(
    model: Occurring, prompt: list[int], bins: Bins, args: argparse.Namespace
) -> Iterator[int]:
    """Yields the ids that the model writes after the prompt."""
    ids, block_size = [*prompt], len(model.model.positions.weight)
    generator = torch.Generator().manual_seed(args.seed)
    for _ in range(args.tokens):
        logits = model(torch.tensor([ids[-block_size:]]))[0, -1, : bins.vocab_size]
        values, likely = (logits / args.temperature).topk(min(args.top_k, bins.vocab_size))
        ids.append(int(likely[torch.multinomial(values.softmax(0), 1, generator=generator)]))
        if ids[-1] == bins.end_of_text:
            return
        yield ids[-1]


if __name__ == "__main__":
    run_main(main)
