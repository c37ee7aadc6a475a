"""What are rows cut from? Bins, opened and checked, and a split with the plan of its rows."""

from os import PathLike
from pathlib import Path
from warnings import warn

from slm.batching.orders.pieces import DocumentIndex
from slm.batching.orders.rows import Split
from slm.batching.sampling import plan
from slm.bins.format import REPAIR
from slm.bins.opening import Bins
from slm.bins.verifying import check_bytes
from slm.core.errors import check


def opened(bins: str | Path | Bins, split: str, verify: bool) -> Bins:
    """Returns bins that have the split, in an absolute folder: the working folder may change."""
    given = isinstance(bins, str | PathLike | Bins)
    check(given, f"bins is {bins!r}; give a folder, a URL, or what open_bins returned")
    bins = bins if isinstance(bins, Bins) else _opened(bins)
    bins = bins._replace(folder=bins.folder.absolute())
    splits = bins.manifest["splits"]
    check(
        isinstance(split, str) and split in splits,
        f"split is {split!r}; {bins.folder} has {', '.join(splits)}",
    )
    if verify:
        bins.need(None)
        local = f"`rm -r {bins.folder}`, then open it again"
        check_bytes(bins.folder, local if bins.far else REPAIR)
    return bins


def _opened(path: str | Path) -> Bins:
    from slm.stores.opening import open_bins  # which knows URLs, too

    return open_bins(path)


def split_of(
    bins: Bins, split: str, order: str, seed: int, block_size: int, documents: bool
) -> Split:
    """Returns a split with the plan of its rows, and its documents where they are needed."""
    ids = bins.ids(split)
    if order != "packed" and not documents:
        return Split(ids, plan(order, seed, len(ids), block_size))
    follows = bins.manifest.get("end_of_text") == "prepend"
    index = DocumentIndex(bins.docs(split)[:, 0], follows)
    made = plan(order, seed, len(ids), block_size, index.offsets)
    if made.packing is not None and not len(made.packing.short):
        many = f"all {len(made.packing.long):,} documents of {split} in {bins.folder}"
        warn(
            f"order 'packed': {many} are longer than a row of {block_size} tokens, and are cut; "
            "a larger block_size keeps more of them in one piece",
            stacklevel=3,
        )
    return Split(ids, made, index)
