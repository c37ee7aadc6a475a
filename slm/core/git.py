"""How is git run? As a command, without a shell. The caller looks at its exit status."""

import subprocess
from pathlib import Path

from slm.core.errors import UserError


def git(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Runs git in `folder`; returns status and output, in bytes. Raises UserError without git."""
    try:
        return subprocess.run(["git", *words], cwd=folder, capture_output=True, check=False)
    except FileNotFoundError:
        raise UserError("git is not on PATH; versions are named by it, so install it") from None


def git_text(folder: Path, *words: str, cure: str = "") -> str:
    """Returns what git prints, as text; raises UserError, which ends in `cure`, where it fails."""
    done = git(folder, *words)
    if done.returncode:
        message = done.stderr.decode(errors="replace").split("hint:")[0]
        raise UserError(f"git {words[0]}: {message}; {cure}")
    return done.stdout.decode(errors="replace")
