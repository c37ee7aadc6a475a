"""How is text repaired? Mojibake, UTF-8 that was read as another code, by ftfy.

In: raw/ and the rows of documents that the audit found at fault. Out: the repaired texts. Only
`fix_encoding` of ftfy is used, which changes nothing but that. Source: Robyn Speer, ftfy, 2019,
doi:10.5281/zenodo.2591652.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from slm.selection.faults import texts_at


def repaired(raw: Path, split: str, rows: np.ndarray) -> Iterator[tuple[int, str]]:
    """Yields each of these ascending rows whose text ftfy changes, with the repaired text."""
    import ftfy  # takes a moment, and few repair

    texts = tqdm(texts_at(raw, split, rows), f"repair {split}", len(rows), delay=2, disable=None)
    for row, text in texts:
        if (fixed := ftfy.fix_encoding(text)) != text:
            yield row, fixed
