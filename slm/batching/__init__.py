"""How batches reach the device: exact, the same everywhere, and resumed where they stopped.

    from slm.batching import Batches, digest, distributed, union

`slm.batching.batches` states what holds. PyTorch is imported when one of these names is first used:
`slm.batching.sampling` and `slm.batching.coverage` need NumPy alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slm.batching.batches import Batches, digest, distributed, union

__all__ = ["Batches", "digest", "distributed", "union"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("slm.batching.batches"), name)
