"""Make the environment: `python scripts/set_up.py .venv HASH`, as `make` does where it is due.

In: requirements.lock, which is complete, so that nothing is resolved but what torch needs, which
differs between its builds. Out: the environment, whole, with HASH in its file `installed`. It is
built beside the old one and takes its place by a rename, so that a set-up that fails or is killed
leaves what worked. uv installs the pinned packages, pip torch at the same time (pip finds local
builds that uv does not); bytecode is left to the first run. Needs the standard library alone.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

LOCK = Path("requirements.lock")
PIP = ("-m", "pip", "-qq", "--disable-pip-version-check", "--no-input", "install", "--no-compile")
# For its data alone, which is the same in each of its wheels: so one serves every platform.
WHEEL = ("--no-deps", "--only-binary", ":all:", "--platform", "manylinux2014_x86_64")
SMALLEST, WITH_CUDA = 1.4, 5.4  # GB on disk
STEPS = 4
ABI = ("--implementation", "cp", "--python-version", "311", "--abi", "cp311")
NO_RANKS = (
    "note: quicktok-v1 could not be fetched: tokenizer.encoding llama3 and qwen cannot be used, "
    "and tiktoken will fetch cl100k_base and o200k_base; `rm -r .venv` and make try again"
)
NO_GIGATOKEN = (
    "note: gigatoken could not be installed (no wheel for this platform?): builds will use "
    "tiktoken, same bytes, slower; `rm -r .venv` and make try again"
)


def main() -> None:
    """Build the environment that the command line names."""
    venv, digest = Path(sys.argv[1]), sys.argv[2]
    old, new = (venv.with_name(f"{venv.name}.{state}") for state in ("old", "new"))
    if venv.is_symlink():
        sys.exit(
            f"error: {venv} is a link to {venv.resolve()}, which was not made from this "
            f"{LOCK}; `make setup` in the clone that it belongs to, or `rm {venv}` and make again"
        )
    if old.exists() and not venv.exists():  # killed between two renames
        old.rename(venv)
    _check_clone()
    _check_room(venv)
    print(f"setting up {venv} with {sys.executable}, once: about a minute", flush=True)
    try:
        _build(new, digest)
        _move_scripts(new, venv)
        _swap(venv, new, old)
    except subprocess.CalledProcessError as error:
        sys.exit(_failed(venv, error))
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _check_clone() -> None:
    """Exits where git keeps no versions here, as in a folder that was downloaded as a .zip."""
    if not shutil.which("git"):
        sys.exit("error: git is not installed; install it (`apt install git`) and make again")
    inside = ("git", "rev-parse", "--is-inside-work-tree")
    if subprocess.run(inside, capture_output=True, check=False).returncode:
        sys.exit(
            "error: this is no git clone, and versions are git's; `git init -q && git add -A && "
            "git add -f data/prebuilt && git commit -qm start`, then make again"
        )


def _check_room(venv: Path) -> None:
    """Exits where the disk has no room even for the smallest environment."""
    free = shutil.disk_usage(venv.absolute().parent).free / 1e9
    if free < SMALLEST:
        needs = f"{SMALLEST} GB, or {WITH_CUDA} GB where pip's PyTorch brings CUDA"
        sys.exit(f"error: {venv} needs {needs}, and {free:.1f} GB are free; free some space")


def _step(number: int, what: str) -> None:
    print(f"  {number} of {STEPS}: {what}", flush=True)


def _build(new: Path, digest: str) -> None:
    shutil.rmtree(new, ignore_errors=True)
    _run(sys.executable, "-m", "venv", new)
    python = new / "bin" / "python"
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    pins = {line.split("==")[0]: line for line in lines if "==" in line and line[0] != "#"}
    torch, gigatoken, ranks = map(pins.pop, ("torch", "gigatoken", "quicktok-v1"))
    listed = new / "requirements.txt"
    listed.write_text("\n".join(pins.values()))
    _step(1, f"{len(pins)} pinned packages, and torch beside them")
    with subprocess.Popen([python, *PIP, "--no-deps", torch]) as beside:
        _install(python, pins["uv"], listed)
        _run(
            python,
            *PIP,
            "--no-deps",
            "--only-binary",
            "gigatoken",
            gigatoken,
            optional=NO_GIGATOKEN,
        )
        _step(2, "torch, the largest")
        if beside.wait():
            raise subprocess.CalledProcessError(beside.returncode, f"pip install {torch}")
    _step(3, "what torch needs, and slm")
    _run(python, *PIP, torch, "-c", LOCK)
    _run(python, *PIP, "--no-deps", "--no-build-isolation", "-e", ".")
    _step(4, "published vocabularies")
    wheels = new / "share" / "wheels"
    _run(python, *PIP[:-2], "download", *WHEEL, *ABI, "-d", wheels, ranks, optional=NO_RANKS)
    _run(python, "scripts/install_vocabulary.py")
    (new / "installed").write_text(digest)  # last: what has it is whole


def _install(python: Path, uv_pin: str, listed: Path) -> None:
    """Install what `listed` names: by the user's uv, else by one of this environment's own."""
    uv = shutil.which("uv")
    if not uv:
        _run(python, *PIP, uv_pin, "--no-deps")
        uv = str(python.with_name("uv"))
    words = ("pip", "install", "-q", "--no-config", "--no-deps", "--python", python, "-r", listed)
    if subprocess.run([uv, *words], check=False).returncode:
        print("note: uv could not install them: pip does, which takes longer", flush=True)
        _run(python, *PIP, "--no-deps", "-r", listed)


def _run(*words: str | Path, optional: str = "") -> None:
    """Run a command; where it fails print `optional` and go on, or raise CalledProcessError."""
    done = subprocess.run(words, check=not optional)
    if done.returncode:
        print(optional, file=sys.stderr, flush=True)


def _move_scripts(new: Path, venv: Path) -> None:
    """Let the scripts name the environment as it will be called."""
    before, after = os.fsencode(new.absolute()), os.fsencode(venv.absolute())
    for script in (new / "bin").iterdir():
        if not script.is_symlink() and before in (content := script.read_bytes()):
            script.write_bytes(content.replace(before, after))


def _swap(venv: Path, new: Path, old: Path) -> None:
    shutil.rmtree(old, ignore_errors=True)
    if venv.exists():
        venv.rename(old)
    new.rename(venv)
    shutil.rmtree(old, ignore_errors=True)


def _failed(venv: Path, error: subprocess.CalledProcessError) -> str:
    command = error.cmd if isinstance(error.cmd, str) else " ".join(map(str, error.cmd))
    state = f"{venv} is as it was" if venv.exists() else f"there is no {venv} yet"
    return f"error: set-up failed at `{command}`; {state}; see the lines above, then make again"


if __name__ == "__main__":
    main()
