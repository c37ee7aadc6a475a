"""How is git asked? By its command, with words and no shell.

In: a folder and the words of a command. Out: what it printed, as bytes, and how it ended: that a
revision or a file is not there is an answer, and what it means is for the caller to say.
"""

import subprocess
from pathlib import Path

from slm.core.errors import UserError


def git(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run git in `folder` and wait for it; raises UserError where there is no git on PATH."""
    try:
        return subprocess.run(["git", *words], cwd=folder, capture_output=True, check=False)
    except FileNotFoundError:
        raise UserError("git is not on PATH; versions are named by it, so install it") from None
