"""The long form of the crash tests: end the pipeline at random moments, run it again, compare.

A round takes something away from a `Ground`, starts a stage or the whole of `make data`, and ends
it: SIGKILL of the top process alone, as `kill -9` of DVC leaves a stage's script running, or of
the whole group, or Ctrl-C. What then lies under its final name must be whole, and `make data` must
end in what was built undisturbed. All that is drawn follows from seed and round; the machine's own
timing does not. Exit status 1 where anything differs.

    python -m tests.kills.random_kills --kills 200 --seed 0     # --only 17 repeats a round
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.kills.ground import OUTS, SCRIPTS, Ground

ENDINGS = ("top process", "top process, rerun at once", "group")
# Places where something is written: our own, DVC's copies, DVC's records.
OURS = ("data/faults/{}.*.tmp",)
COPIES = (".dvc/cache/files/md5/*/*", ".dvc/cache/files/md5/*/.*.tmp")
RECORDS = ("dvc.lock", ".dvc/cache/runs/*/*/*", ".dvc/tmp/rwlock")


@dataclass
class Round:
    """What is drawn for one round, and what was wrong after it."""

    number: int
    victim: str  # a script, or make_data
    stage: int  # the first that has something to do
    start: str  # nothing | one gone | in place | end of text
    moment: str  # uniform | writing
    ending: str
    finished: bool = False  # before its moment came
    wrong: list[str] = field(default_factory=list, repr=False)


def drawn(draw: random.Random, number: int, ending: str | None) -> Round:
    """What a round does."""
    victim = "make_data" if ending else draw.choice([*SCRIPTS, "make_data", "make_data"])
    stage = SCRIPTS.index(victim) if victim in SCRIPTS else draw.randrange(4)
    starts = ["nothing", "one gone", "in place" if victim in SCRIPTS else "end of text"]
    start, moment = draw.choice(starts), draw.choice(["uniform", "writing"])
    if victim == "make_data":  # from nothing, and where end_of_text alone was changed
        stage = {"nothing": 0, "end of text": 3}.get(start, stage)
    return Round(number, victim, stage, start, moment, ending or draw.choice(ENDINGS))


def play(ground: Ground, number: int, seed: int, ending: str | None = None) -> Round:
    """One round, and what was wrong; afterwards the ground is as it was built."""
    draw = random.Random(f"{seed}/{number}")
    now = drawn(draw, number, ending)
    life = ground.seconds(now.victim)
    _set_up(ground, now)
    before = _found(ground, [sign.format("*") for sign in (*OURS, *COPIES, *RECORDS)])
    job = ground.start(now.victim)
    _wait(ground, job, now, draw, life, before)
    now.finished = job.poll() is not None
    now.wrong += _interrupt(job, now) if now.ending == "Ctrl-C" else _kill(job, now)
    if "at once" not in now.ending:
        settle(job.pid)
        now.wrong += ground.not_whole()
    now.wrong += ground.rerun()
    settle(job.pid)
    now.wrong += ground.different()
    job.stdout.close()
    if now.wrong:
        ground.repair()
    return now


def _set_up(ground: Ground, now: Round) -> None:
    """Make the state in which a round starts; what the stage itself needs stays."""
    if now.start == "nothing":
        ground.remove(*OUTS[now.stage :], records=True)
    elif now.start == "one gone":
        ground.remove(OUTS[now.stage], "bins", cache=False)
    elif now.start == "end of text":
        ground.remove()
        ground.set_policy("none" if ground.policy == "append" else "append")


def _wait(ground: Ground, job, now: Round, draw: random.Random, life: float, before: dict) -> None:
    """Until the round's moment: a part of the process's life, or as something is written."""
    part = draw.random()
    if now.moment == "uniform":
        time.sleep(part * life)
        return
    kinds = (OURS,) if now.victim in SCRIPTS else (OURS, COPIES, RECORDS)
    signs = [sign.format(OUTS[now.stage]) for sign in draw.choice(kinds)]
    while job.poll() is None and not _found(ground, signs).items() - before.items():
        time.sleep(0.001)
    time.sleep(part**3 * 0.05)


def _found(ground: Ground, signs: list[str]) -> dict[Path, int]:
    """What matches the patterns, and when it was written."""
    found = {}
    for path in (path for sign in signs for path in ground.root.glob(sign)):
        try:
            found[path] = path.stat().st_mtime_ns
        except FileNotFoundError:  # it has its final name by now
            continue
    return found


def _kill(job: subprocess.Popen, now: Round) -> list[str]:
    if now.ending == "group":
        _signal(job.pid, signal.SIGKILL)
    else:
        job.kill()
    job.wait()
    return []


def _interrupt(job: subprocess.Popen, now: Round) -> list[str]:
    """Press Ctrl-C; what is wrong with what is said."""
    _signal(job.pid, signal.SIGINT)
    said, _ = job.communicate(timeout=60)
    if "Traceback" in said or said.count("error:") > 1:
        return [f"Ctrl-C said: {said.strip()}"]
    if not job.returncode and not now.finished and "faults/bins" not in said:
        return ["Ctrl-C ended in exit status 0, and nothing was built"]
    return []


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:  # it has finished
        return


def settle(group: int) -> None:
    """Wait until no process of a group is there (one that has ended counts until it is reaped)."""
    for _ in range(1000):
        if not any(_in_group(process, group) for process in psutil.pids()):
            return
        time.sleep(0.03)


def _in_group(process: int, group: int) -> bool:
    try:
        return os.getpgid(process) == group
    except ProcessLookupError:
        return False


def main() -> None:
    """So many kills, and a quarter as many times Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="one round, by its number")
    args = parser.parse_args()
    rounds = range(args.kills + args.kills // 4) if args.only is None else [args.only]
    played, start = [], time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        ground = Ground(Path(folder))
        for number in rounds:
            ending = "Ctrl-C" if number >= args.kills else None
            now = play(ground, number, args.seed, ending)
            played.append(now)
            if now.wrong:
                print(f"--kills {args.kills} --seed {args.seed} --only {number}: {now}")
                print(*(f"  {line}" for line in now.wrong), sep="\n", flush=True)
            if len(played) % 10 == 0:
                equal, spent = sum(not r.wrong for r in played), time.monotonic() - start
                print(f"{len(played)} rounds, {equal} equal, {spent:.0f} s", file=sys.stderr)
    _summary([r for r in played if r.ending != "Ctrl-C"], "kills over 4 stages and make data")
    _summary([r for r in played if r.ending == "Ctrl-C"], "times Ctrl-C in make data")
    sys.exit(any(r.wrong for r in played))


def _summary(played: list[Round], what: str) -> None:
    for name in ("victim", "start", "moment", "ending", "finished"):
        counts = sorted(Counter(str(getattr(r, name)) for r in played).items())
        print(f"  {name}: {', '.join(f'{kind} {n}' for kind, n in counts)}")
    print(f"{len(played)} {what}: {sum(not r.wrong for r in played)} equal")


if __name__ == "__main__":
    main()
