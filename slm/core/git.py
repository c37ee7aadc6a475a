"""How is git run? As a command, without a shell. The caller looks at its exit status.

A hook or an alias names its own repository by variables, and a user has hooks: neither reaches git.
"""

import os
import subprocess
from pathlib import Path

from slm.core.errors import UserError

LOCAL = (  # `git rev-parse --local-env-vars`
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_CONFIG", "GIT_CONFIG_COUNT"),
    *("GIT_CONFIG_PARAMETERS", "GIT_DIR", "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE"),
    *(
        "GIT_INDEX_FILE",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
    ),
    *("GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_WORK_TREE"),
)


def git(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Runs git in `folder`; returns status and output, in bytes. Raises UserError without git."""
    env = {name: value for name, value in os.environ.items() if name not in LOCAL}
    command = ["git", "-c", f"core.hooksPath={os.devnull}", *words]
    try:
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, check=False)
    except FileNotFoundError:
        raise UserError("git is not on PATH; versions are named by it, so install it") from None


def git_text(folder: Path, *words: str, cure: str = "") -> str:
    """Returns what git prints, as text; raises UserError, which ends in `cure`, where it fails."""
    done = git(folder, *words)
    if done.returncode:
        message = done.stderr.decode(errors="replace").split("hint:")[0]
        raise UserError(f"git {words[0]}: {message.strip()}; {cure}")
    return done.stdout.decode(errors="replace")
