"""How are several datasets mixed? By integer weights, exactly, with the interface of Batches.

    bins = {"stories": "data/a/bins", "web": "data/b/bins"}
    train = Mixture(bins, "train", weights={"stories": 3, "web": 1}, batch_size=64, block_size=256,
                    seed=1337)
    x, y = train.get_batch()

With W the sum of the weights, each block of W rows has exactly so many of each source, in an order
of its own; a source's rows come in the order in which its own Batches would give them, so that a
row is a pure function of its number (slm.batching.orders.mixing states it bit for bit).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from slm.batching.batches import Batches
from slm.batching.loops import end
from slm.batching.opening import opened, split_of
from slm.batching.orders.caps import cap_of
from slm.batching.orders.mixing import check_firsts, rows_of, sources, stages_of, whole
from slm.batching.orders.rows import Rows
from slm.batching.sampling import VERSION, integer, integers
from slm.bins.opening import Bins
from slm.core.errors import UserError, check
from slm.core.formats import State
from slm.core.tables import aligned

Weights = Mapping[str, int]
SAME = ("license", "source", "model")  # of a vocabulary: what may differ


class Mixture(Batches):
    """Batches of several bins, `bins` by name, mixed by `weights` or by `stages`.

    `weights` are integers, by name. `stages` are (step, weights), the first from step 0: each
    source goes on where it was. `max_epochs` says how often at most a source may be gone through.
    `sources` adds a last item, (batch_size,) int64: the number of each row's source, in the order
    of `bins`. Other arguments are those of Batches; "sequential" has no mixture. Raises UserError
    if an argument is out of range, or bins are refused or have different vocabularies.
    """

    def __init__(
        self,
        bins: Mapping[str, str | Path | Bins],
        split: str,
        *,
        batch_size: int,  # rows per rank
        block_size: int,  # tokens per row
        seed: int,
        weights: Weights | None = None,
        stages: list[tuple[int, Weights]] | None = None,
        max_epochs: Mapping[str, float] | None = None,
        order: str = "shuffled",
        rank: int = 0,
        world_size: int = 1,
        device: str | torch.device = "cpu",
        placement: str = "auto",
        documents: bool = False,
        sources: bool = False,
        reuse: bool = False,
        verify: bool = False,
        steps: int | None = None,
    ) -> None:
        self._arguments = {key: value for key, value in locals().items() if key != "self"}
        check(order != "sequential", "order is 'sequential'; a mixture has no end: read each alone")
        check(bool(bins), "bins is empty; name at least one source")
        opened_bins = {name: opened(one, split, verify) for name, one in bins.items()}
        self._arguments["bins"], self._names = opened_bins, list(bins)
        self._name = f"{split!r} of {', '.join(bins)}"
        check_vocabularies(opened_bins)
        _, _, batch_size, rank, world_size = integers(0, 1, batch_size, rank, world_size)
        parts = [
            split_of(one, split, order, seed, block_size, documents) for one in opened_bins.values()
        ]
        plan, per_step = parts[0].plan, batch_size * world_size
        self._steps = read_stages(list(bins), weights, stages)
        firsts = [step * per_step for step, _ in self._steps]
        made = self._stages = stages_of(plan.seed, firsts, [each for _, each in self._steps])
        rows = Rows(parts, batch_size, rank, world_size, made, documents, sources)
        self._end = end(steps, plan, per_step)
        self._cap = cap_of(
            max_epochs, dict(zip(bins, parts, strict=True)), made, per_step, self._end
        )
        self._begin(rows, device, placement, reuse)
        self._state: State = {
            "rows": 0,
            "seed": plan.seed,
            "order": order,
            "block_size": rows.size,
            "global_batch": per_step,
            "split": split,
            "sampling": VERSION,
            "data": [[name, one.manifest["sha256"]] for name, one in opened_bins.items()],
            "stages": [[step, list(each)] for step, each in self._steps],
        }

    def get_batch(self) -> tuple:
        """Returns what Batches returns, and the sources of the rows if asked for.

        Raises UserError where the step would pass `max_epochs`; a CUDA graph needs `steps` for it.
        """
        cap = self._cap
        if cap is not None and self._end is None:
            capturing = self._device.type == "cuda" and torch.cuda.is_current_stream_capturing()
            check(not capturing, "max_epochs cannot be seen in a CUDA graph; pass steps=")
            beyond = f"step {cap.step} passes max_epochs of {cap.source}, {cap.epochs:g}"
            check(self.step < cap.step, f"{beyond}; end there, or give {cap.source} less weight")
        return super().get_batch()

    def source_of(self, row: int) -> tuple[str, int]:
        """Returns the source of a global row, and which of that source's rows it is."""
        row = integer("row", row, 0, 2**62)
        source, own = sources(self._stages, np.array([row], np.uint64))
        return self._names[int(source[0])], int(own[0])

    def load_state_dict(self, state: State) -> None:
        """Resumes after `state`; stages that had not begun by then may be others now.

        Raises UserError, with both values, if the state is of other data or other arguments.
        """
        at = integer("rows of the state", state.get("rows"), 0) // self._rows.per_step
        begun, there = _begun(self._state["stages"], at), _begun(state.get("stages", []), at)
        check(begun == there, f"the state has stages {there!r} up to step {at} and these batches "
                              f"have {begun!r}; a stage that has begun cannot change")  # fmt: skip
        super().load_state_dict({**state, "stages": self._state["stages"]})

    def __str__(self) -> str:
        """A table: what is mixed, and how often each token is seen."""
        steps = self._end or 1000
        drawn = rows_of(self._stages, steps * self._rows.per_step)
        head = ("source", "weight", "tokens", "rows per epoch", f"epochs in {steps:,} steps")
        lines = [head]
        for i, (name, each) in enumerate(zip(self._names, self._rows.splits, strict=True)):
            weight = " then ".join(str(weights[i]) for _, weights in self._steps)
            blocks = each.plan.blocks
            lines.append((name, weight, f"{len(each.ids):,}", f"{blocks:,}",
                          f"{int(drawn[i]) / blocks:.2f}"))  # fmt: skip
        return "\n".join(aligned(lines, "<>>>>"))


def _begun(stages: list, step: int) -> list:
    return [stage for stage in stages if stage[0] < step]


def read_stages(
    names: list[str], weights: Weights | None, stages: list[tuple[int, Weights]] | None
) -> list[tuple[int, list[int]]]:
    """Returns (step, weights in the order of `names`) of each stage; raises UserError."""
    both = "give weights={…} or stages=[(0, {…}), (step, {…})]"
    check(
        (weights is None) != (stages is None), f"weights is {weights!r}, stages {stages!r}; {both}"
    )
    pairs = [(0, weights)] if stages is None else list(stages)
    made = []
    for step, each in pairs:
        if not isinstance(each, Mapping):
            raise UserError(f"weights is {each!r}; {both}")
        unknown = [name for name in each if name not in names]
        check(
            not unknown, f"weights has {', '.join(map(str, unknown))}; bins has {', '.join(names)}"
        )
        missing = [name for name in names if name not in each]
        check(
            not missing, f"weights has no {', '.join(missing)}; a source to leave out has weight 0"
        )
        made.append((integer("step of a stage", step, 0), whole({n: each[n] for n in names})))
    check_firsts([step for step, _ in made])
    return made


def check_vocabularies(bins: dict[str, Bins]) -> None:
    """Raises UserError if the ids of one mean something else in another."""
    about = {name: _vocabulary(one) for name, one in bins.items()}
    (first, wanted), *others = about.items()
    for name, other in others:
        check(
            other == wanted,
            f"{name} has another vocabulary ({_called(bins[name])}) than {first} "
            f"({_called(bins[first])}); build both with one `tokenizer` of params.yaml",
        )


def _vocabulary(bins: Bins) -> dict:
    known = bins.manifest.get("tokenizer", {})
    return {key: value for key, value in known.items() if key not in SAME} | {
        "dtype": bins.manifest["dtype"]
    }


def _called(bins: Bins) -> str:
    known = bins.manifest.get("tokenizer", {})
    return f"{known.get('encoding')}, {known.get('vocab_size')} ids"
