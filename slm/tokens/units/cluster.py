"""Who makes the units, where it is not this process? Workers of a cluster that runs already.

In: an executor's name and address, as the environment says (EXECUTOR, SCHEDULER, RAY_ADDRESS), and
units. Out: the units, finished. The seam is concurrent.futures.Executor; what travels are orders
(slm.tokens.units.orders). We attach, and start nothing. No byte follows from who makes a unit.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from queue import SimpleQueue
from typing import NamedTuple

from slm.core.errors import UserError, brief, check
from slm.tokens.units import on_ray
from slm.tokens.units.making import Told
from slm.tokens.units.orders import Order, carry_out

ADDRESSES = {"dask": "SCHEDULER", "ray": "RAY_ADDRESS"}  # by executor, the variable that has it
EXAMPLES = {
    "dask": "SCHEDULER=tcp://host:port, of a scheduler that runs: `dask scheduler` starts one, and "
    "`dask worker ADDRESS` workers",
    "ray": "RAY_ADDRESS=host:port, of a cluster that runs: `ray start --head` starts one, and "
    "`ray start --address=ADDRESS` adds a machine",
}
WAITING = 1000  # units that a cluster is given beforehand, so that memory is flat
SECONDS = 10  # to answer


class Cluster(NamedTuple):
    """What the environment names."""

    executor: str
    scheduler: str  # its address


def wanted(environment: Mapping[str, str]) -> Cluster | None:
    """Returns the cluster that is asked for; None where there is none. UserError if half of it."""
    name = environment.get("EXECUTOR", "")
    address = environment.get(ADDRESSES.get(name, "SCHEDULER"), "")
    if not name:
        stray = "://" not in address  # another program's, such as SCHEDULER=slurm
        check(stray, f"SCHEDULER is {address}, and no EXECUTOR is named; add EXECUTOR=dask")
        return None
    check(name in ADDRESSES, f"EXECUTOR is {name!r}, expected one of {', '.join(ADDRESSES)}")
    check(address != "", f"EXECUTOR={name} needs {EXAMPLES.get(name)}")
    return Cluster(name, address)


@contextmanager
def on_dask(scheduler: str) -> Iterator[Executor]:
    """Yields an executor; what it has not begun is cancelled if the block fails."""
    from distributed import Client

    for name in logging.root.manager.loggerDict:
        if name.startswith("distributed"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what is lost we say ourselves
    try:
        client = Client(scheduler, timeout=SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"no Dask scheduler answers at {scheduler} ({brief(error)}); `dask scheduler` "
            "starts one"
        ) from None
    with client:
        check(
            client.scheduler_info()["workers"] != {},
            f"the scheduler at {scheduler} has no workers; `dask worker {scheduler}` starts some",
        )
        executor = client.get_executor(pure=False)
        try:
            yield executor
        finally:
            executor.shutdown(wait=False)


def carried_out(cluster: Cluster, orders: list[Order], told: Told) -> None:
    """Has all orders carried out by a cluster; `told` is given numbers of documents.

    Raises UserError at the first that cannot be, or where the cluster cannot be used.
    """
    attach = on_ray.attached if cluster.executor == "ray" else on_dask
    with attach(cluster.scheduler) as executor:
        spread(executor, carry_out, orders, told)


def spread(
    executor: Executor, work: Callable[[Order], object], orders: list[Order], told: Told
) -> None:
    """Has an executor do `work` for all orders, of which few wait at a time."""
    done: SimpleQueue[Future] = SimpleQueue()
    documents: dict[Future, tuple[str, int]] = {}

    def end_one() -> None:
        future = done.get()
        name, many = documents.pop(future)
        _result(future, name)
        told(many)

    for given in orders:
        if len(documents) >= WAITING:
            end_one()
        future = executor.submit(work, given)
        documents[future] = given.unit.name, given.unit.documents
        future.add_done_callback(done.put)
    while documents:
        end_one()


def _result(future: Future, name: str) -> None:
    try:
        future.result()
    except UserError:
        raise
    except CancelledError:
        raise UserError(
            f"the scheduler is gone, and {name} with it; start it and its workers again, and run "
            "the same command: what is finished is kept"
        ) from None
    except Exception as error:
        raise UserError(
            f"{name} could not be made by the workers ({brief(error)}); see their logs, and run "
            "the same command again: what is finished is kept"
        ) from error
