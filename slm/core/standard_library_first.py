"""Importing this, first of all, keeps a user's random.py out of the way of the standard library's.

`python -m` looks for every module in the working folder first. It moves behind the standard
library, and stays before what is installed. What `python -m` itself imports (types, functools,
collections, warnings, …) was found before this runs.
"""

import os
import sys

_HERE = os.getcwd()  # noqa: PTH109 - a pathlib.py may be there, too
_others = [path for path in sys.path if path not in ("", _HERE)]
if len(_others) < len(sys.path):
    _installed = (i for i, path in enumerate(_others) if path.endswith("-packages"))
    _others.insert(next(_installed, len(_others)), _HERE)
    sys.path[:] = _others
