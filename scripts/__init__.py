"""The commands. A signal ends each in one line, also while it still imports its modules.

It ends at once then: there is nothing to clean up yet, and libraries written in C crash, or say
something else, where their import is interrupted. From slm.core.errors.run_main on it is raised.
"""

# isort: skip_file
import os  # Python has both already, wherever a user's own os.py lies
import sys


def _in_one_line(kind, error, trace) -> None:
    if issubclass(kind, KeyboardInterrupt):
        if "SLM_INTERRUPT_IS_SAID_ABOVE" in os.environ:  # by the command that runs this stage
            os._exit(130)
        os.write(2, b"error: interrupted; run the same command again to go on\n")
        os._exit(1)
    sys.__excepthook__(kind, error, trace)


sys.excepthook = _in_one_line

from slm.core import standard_library_first  # noqa: E402, F401
from slm.core.errors import end_at_once, handle  # noqa: E402
from slm.core.git import LOCAL  # noqa: E402

handle(end_at_once)
for name in (*LOCAL, "MPLBACKEND"):  # of a hook, whose repository DVC would use; of a notebook
    os.environ.pop(name, None)
