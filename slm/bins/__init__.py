"""What is a bin? Its format; how bins are opened, verified, made from tokens and compared.

Reading needs NumPy alone.
"""

from slm.bins.manifest import read_manifest
from slm.bins.opening import Bins, open_bins
from slm.bins.verifying import check_bytes, damage

__all__ = ["Bins", "check_bytes", "damage", "open_bins", "read_manifest"]
