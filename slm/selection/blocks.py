"""What text does a split of the bins have? The documents of a selection, block by block.

In: raw/, selection/, and a split of the bins. Out: `Block`s of its documents, in the source's order
whatever their order in the bins, with the texts that the selection has of its own.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from slm.selection.files import all_in_order, is_all, outcomes, read_selection
from slm.selection.own_texts import each_text
from slm.text.blocks import Block, read_blocks


def selected_blocks(
    raw: Path, selection: Path | None, split: str, block_bytes: int
) -> Iterator[Block]:
    """Yields the documents of a split; a block's `first` counts them. Raises as `read_blocks`.

    `selection` is None for every document of the source.
    """
    known = read_selection(selection) if selection else all_in_order([split])
    source = known["splits"][split]["source"]
    if selection is None or is_all(known, split):
        yield from read_blocks(raw, source, block_bytes)
        return
    reasons, asked = outcomes(selection, known, split)
    own, first = each_text(selection, split), 0
    pending = next(own, None)
    for block in read_blocks(raw, source, block_bytes):
        texts, content = [], block.data.data
        for row, (start, stop) in enumerate(pairwise(block.offsets.tolist()), block.first):
            text = content[start:stop]
            if pending and pending[0] == row:
                text, pending = pending[1], next(own, None)
            if asked[row] and not reasons[row]:
                texts.append(text)
        offsets = np.cumsum([0, *map(len, texts)])
        yield Block(first, offsets, np.frombuffer(b"".join(texts), np.uint8))
        first += len(texts)
