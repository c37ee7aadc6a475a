"""Text to the exact token bins that a small language model trains on, and batches from them.

    from slm import Batches, Mixture, bits_per_byte, open_bins, open_revision

Each name is imported when it is first used, so that `import slm` costs nothing, and bins are read
without PyTorch.
"""

from importlib import import_module

TYPE_CHECKING = False  # true to type checkers, and costs no import of typing
if TYPE_CHECKING:
    from slm.batching import Batches, Mixture
    from slm.stores.opening import open_bins
    from slm.training.bits import bits_per_byte
    from slm.versions.revisions import open_revision

__version__ = "0.2.0"
__all__ = ["Batches", "Mixture", "bits_per_byte", "open_bins", "open_revision"]

_HOMES = {
    "Batches": "slm.batching",
    "Mixture": "slm.batching",
    "bits_per_byte": "slm.training.bits",
    "open_bins": "slm.stores.opening",
    "open_revision": "slm.versions.revisions",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from slm.core.errors import packages_of  # not above: `import slm` costs nothing

    with packages_of("data" if name == "open_revision" else "train"):
        return getattr(import_module(_HOMES[name]), name)
