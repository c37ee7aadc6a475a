"""How do batches reach the device? slm.batching.batches says what they guarantee.

    from slm.batching import Batches, Mixture, digest, distributed, union

The first use of a name imports PyTorch; `sampling` and `coverage` need NumPy alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from slm.core.errors import packages_of

if TYPE_CHECKING:
    from slm.batching.batches import Batches
    from slm.batching.mixture import Mixture
    from slm.batching.ranks import digest, distributed, union

__all__ = ["Batches", "Mixture", "digest", "distributed", "union"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = {"Batches": "batches", "Mixture": "mixture"}.get(name, "ranks")
    with packages_of("train"):
        return getattr(import_module(f"slm.batching.{home}"), name)
