"""An interrupt ends a command in one line, wherever it comes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = """
import os, signal, time
from slm.core.errors import run_main

class Object:
    def __del__(self):
        os.kill(os.getpid(), {number})

def main():
    {body}

run_main(main)
print("not interrupted")
"""
BODIES = {
    "at rest": "os.kill(os.getpid(), {number}); time.sleep(20)",
    "at the end of an object, where Python drops errors": "Object(); time.sleep(20)",
    "at the end of an object, and of all": "Object()",
    "twice": "Object(); os.kill(os.getpid(), {number}); time.sleep(20)",
    "and what cleans up fails": """try:
        os.kill(os.getpid(), {number})
        time.sleep(20)
    finally:
        open("absent/file")""",
}


def printed(body: str, number: int) -> str:
    """What a command with this body prints before a signal of this number ends it in one line."""
    code = COMMAND.format(body=body, number=int(number)).replace("{number}", str(int(number)))
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # the suite may run under nohup
    )  # fmt: skip
    assert run.stderr == "error: interrupted; run the same command again to go on\n"
    assert run.returncode == 1
    return run.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("body", BODIES.values(), ids=list(BODIES))
def test_an_interrupt_is_one_line(body, number):
    assert printed(body, number) == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_comes_after_a_block_that_delays_it(number):
    body = """
    from slm.core.errors import delaying_interrupts
    with delaying_interrupts():
        signal.raise_signal({number})
        print("the block ends", flush=True)
    print("after the block")"""
    assert printed(body, number) == "the block ends\n"


@pytest.mark.parametrize("when", ["as it runs", "as it imports"])
def test_what_a_command_runs_leaves_the_line_to_it(when):
    """Ctrl-C reaches both."""
    child = f"import signal, scripts; signal.raise_signal({int(signal.SIGINT)})"
    if when == "as it runs":
        child = COMMAND.format(body=BODIES["at rest"].format(number=2), number=2)
    body = f"""
    import subprocess, sys
    from slm.core.errors import saying_interrupts
    with saying_interrupts():
        print(subprocess.run([sys.executable, "-c", {child!r}]).returncode, flush=True)
    os.kill(os.getpid(), 2)
    time.sleep(20)"""
    run = subprocess.run(
        [sys.executable, "-c", COMMAND.format(body=body, number=2)],
        capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert run.stderr == "error: interrupted; run the same command again to go on\n"
    assert (run.returncode, run.stdout) == (1, "130\n")


def test_an_error_without_an_interrupt_keeps_its_traceback():
    body = 'open("absent/file")'
    code = COMMAND.format(body=body, number=2)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 1 and run.stderr.startswith("Traceback")
    assert "FileNotFoundError" in run.stderr and "error: interrupted" not in run.stderr


def test_a_command_is_interrupted_in_one_line_while_it_imports(tmp_path):
    """NumPy, for one, makes an ImportError of an interrupt."""
    (tmp_path / "broken.py").write_text("""
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(20)
except KeyboardInterrupt:
    raise ImportError("no datetime") from None
""")
    code = "import scripts, signal; import broken"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": f"{Path(__file__).parents[2]}{os.pathsep}{tmp_path}"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert run.stderr == "error: interrupted; run the same command again to go on\n"
    assert run.returncode == 1
