"""How are several datasets mixed? By integer weights, exactly, with the interface of Batches.

    bins = {"stories": "data/a/bins", "web": "data/b/bins"}
    train = Mixture(bins, "train", weights={"stories": 3, "web": 1}, batch_size=64, block_size=256,
                    seed=1337)
    x, y = train.get_batch()

With W the sum of the weights, each block of W rows has exactly so many of each source, in an order
of its own. A source's rows come in the order in which its own Batches would give them, also over
stages. A row is a pure function of its number (slm.batching.orders.mixing states it bit for bit).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slm.batching.batches import Batches
from slm.batching.loops import check_state, steps_done
from slm.batching.opening import opened, split_of
from slm.batching.orders.caps import cap_of
from slm.batching.orders.mixing import rows_of, sources, stages_of
from slm.batching.orders.rows import Rows, Split
from slm.batching.orders.weights import Stages, Weights, read_stages
from slm.batching.sampling import integer, integers
from slm.bins.opening import Bins
from slm.core.counter import LARGEST
from slm.core.errors import UserError, check
from slm.core.formats import State
from slm.core.tables import aligned

SHOWN = 1000  # steps of the last stage that a table is of, where there is no end
SAME = ("license", "source", "model")  # of a vocabulary: what may differ


class Mixture(Batches):
    """Batches of several bins, `bins` by name, mixed by `weights` or by `stages`.

    `weights` are integers, by name, with a sum of at most 10,000: a row takes longer to find where
    it is large. `stages` are (step, weights), the first from step 0: each source goes on where it
    was. `max_epochs`, by name, says how often a source may be gone through: refused here if `steps`
    would pass it, else get_batch raises UserError (a CUDA graph needs `steps`). `sources` adds a
    last item, (batch_size,) int64: the number of each row's source, in the order of `bins`. Other
    arguments are those of Batches; "sequential" has no mixture. Raises UserError if an argument is
    wrong, or bins are refused or have different vocabularies.
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
        stages: Stages | None = None,
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
        alone = "read each source alone with Batches"
        check(order != "sequential", f"order is {order!r}, and a mixture has no end: {alone}")
        opened_bins = self._open(bins, split, verify)
        _, _, batch_size, rank, world_size = integers(
            0, 1 if steps is None else steps, batch_size, rank, world_size
        )
        self._steps = read_stages(self._names, weights, stages)
        parts = {
            name: _part(name, one, split, order, seed, block_size, documents)
            for name, one in opened_bins.items()
        }
        self._arguments |= {
            "weights": None,
            "stages": [
                (step, dict(zip(self._names, each, strict=True))) for step, each in self._steps
            ],
        }
        plan, per_step = parts[self._names[0]].plan, batch_size * world_size
        firsts = [integers(step, 1, per_step, 0, 1)[0] * per_step for step, _ in self._steps]
        made = self._stages = stages_of(plan.seed, firsts, [each for _, each in self._steps])
        rows = Rows([*parts.values()], batch_size, rank, world_size, made, documents, sources)
        self._cap = cap_of(max_epochs, parts, made, per_step, steps)  # before tokens are moved
        self._begin(
            rows, steps, [[str(name), one.manifest["sha256"]] for name, one in opened_bins.items()]
        )
        self._state["stages"] = [[step, each] for step, each in self._steps]

    def _open(self, bins: Mapping, split: str, verify: bool) -> dict[str, Bins]:
        """Returns the bins by name; what a pickle needs is noted."""
        names = list(bins) if isinstance(bins, Mapping) else []
        named = all(isinstance(name, str) and name and name.isprintable() for name in names)
        given = names if isinstance(bins, Mapping) else type(bins).__name__
        form = 'give folders by name, as {"stories": "data/a/bins", "web": "data/b/bins"}'
        check(bool(names) and named, f"bins is {given}; {form}")
        made = {name: opened(one, split, verify) for name, one in bins.items()}
        check_vocabularies(made)
        self._arguments["bins"], self._names = made, list(made)
        self._name = f"{split!r} of {' + '.join(made)}"
        return made

    def _at_end(self) -> bool:
        """Whether `steps` are done; raises UserError where the next step would pass a cap."""
        cap = self._cap
        if cap is not None and self._end is None:
            check(not self._capturing(), "max_epochs cannot be seen in a CUDA graph; pass steps=")
            beyond = f"step {self.step} passes max_epochs of {cap.source}, {cap.epochs:g}"
            cure = f"end before step {cap.step}, or give {cap.source} less weight"
            check(self.step < cap.step, f"{beyond}; {cure}")
        return super()._at_end()

    def source_of(self, row: int) -> tuple[str, int]:
        """Returns the source of a global row, and which of that source's rows it is."""
        row = integer("row", row, 0, LARGEST - 1)
        source, own = sources(self._stages, np.array([row], np.uint64))
        return self._names[int(source[0])], int(own[0])

    def _check(self, state: State) -> None:
        """Stages that had not begun by then may be others now."""
        check_state({k: what for k, what in self._state.items() if k != "stages"}, state)
        at = steps_done(state, self._rows.per_step)
        here, there = _begun(self._state["stages"], at), _begun(state.get("stages"), at)
        wrong = f"the state has stages {there!r} before step {at} and these batches have {here!r}"
        check(here == there, f"{wrong}; a stage that has begun cannot change")

    def __str__(self) -> str:
        """A table: what is mixed, and how often each token is seen.

        That is in `steps`; where there is no end, until SHOWN steps of the last stage are done.
        """
        begins = [step for step, _ in self._steps]
        steps = self._end or begins[-1] + SHOWN
        drawn = rows_of(self._stages, steps * self._rows.per_step)
        from_steps = f" from step {', '.join(map(str, begins))}"
        weights = "weight" + from_steps * (len(begins) > 1)
        lines = [("source", weights, "tokens", "rows per epoch", f"epochs in {steps:,} steps")]
        for i, (name, each) in enumerate(zip(self._names, self._rows.splits, strict=True)):
            weight, rows = ", ".join(str(own[i]) for _, own in self._steps), each.plan.blocks
            seen = f"{int(drawn[i]) / rows:,.2f}"
            lines.append((name, weight, f"{len(each.ids):,}", f"{rows:,}", seen))
        return "\n".join(aligned(lines, "<>>>>"))


def _begun(stages: Any, step: int) -> list:
    listed = stages if isinstance(stages, list) and stages else [None]
    fine = all(type(one) is list and len(one) == 2 and type(one[0]) is int for one in listed)
    check(fine, f"the state has stages {stages!r}; it must have a list of [step, weights]")
    return [each for each in stages if each[0] < step]


def _part(name: str, bins: Bins, *arguments: Any) -> Split:
    """Returns what rows of a source are cut from; an error names the source."""
    try:
        return split_of(bins, *arguments)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


def check_vocabularies(bins: dict[str, Bins]) -> None:
    """Raises UserError if the ids of one mean something else in another."""
    about = {name: _vocabulary(one) for name, one in bins.items()}
    (first, wanted), *others = about.items()
    for name, other in others:
        check(
            other == wanted,
            f"{name} has another vocabulary ({_called(bins[name])}) than {first} "
            f"({_called(bins[first])}); build both with the same `tokenizer` in params.yaml",
        )


def _vocabulary(bins: Bins) -> dict:
    known = bins.manifest.get("tokenizer", {})
    return {key: value for key, value in known.items() if key not in SAME} | {
        "dtype": bins.manifest["dtype"]
    }


def _called(bins: Bins) -> str:
    known = bins.manifest.get("tokenizer", {})
    return f"{known.get('encoding')}, {known.get('vocab_size')} ids, {bins.manifest['dtype']}"
