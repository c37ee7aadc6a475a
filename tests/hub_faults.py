"""A stand-in for the hub whose answers go wrong as a test asks."""

import math
import re
import socket
import struct
import time
from dataclasses import dataclass

from tests.hub_handler import Handler
from tests.hub_server import HubServer


@dataclass
class Fault:
    """What goes wrong, for which requests ("METHOD /path" is searched), and how often."""

    kind: str  # status, cut, reset, hang, flip, other, slow, missing
    path: str
    times: float
    at: int = 0  # byte of the body: cut, reset, flip; from there on: slow, hang
    value: int = 0  # status; bytes per second

    def answer(self, handler: Handler) -> bool:
        """Answer in place of the hub; False where it answers itself."""
        if self.kind == "hang" and not self.at:
            handler.hub.closing.wait()
            handler.close_connection = True
        elif self.kind == "status":
            handler.send(self.value, {"error": "Out of order"})
        elif self.kind == "missing":
            handler.refuse(404, "EntryNotFound", "Entry not found")
        else:
            return False
        return True

    def write(self, handler: Handler, at: int, part: bytes) -> bool:
        """Do what the fault does to the bytes from `at` on; return whether they were dealt with."""
        place, file = self.at - at, handler.wfile
        if self.kind in ("cut", "reset", "hang") and place < len(part):
            file.write(part[: max(0, place)])
            file.flush()
            self._stop(handler)
        if self.kind == "flip" and 0 <= place < len(part):
            file.write(part[:place] + bytes([part[place] ^ 1]) + part[place + 1 :])
            return True
        if self.kind == "other":
            file.write(bytes(len(part)))
            return True
        if self.kind == "slow" and place <= 0:
            time.sleep(len(part) / self.value)
        return False

    def _stop(self, handler: Handler) -> None:
        if self.kind == "hang":
            handler.hub.closing.wait()
        if self.kind == "reset":  # closing sends a reset where nothing may linger
            linger = struct.pack("ii", 1, 0)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            socket.close(handler.connection.detach())
        raise ConnectionResetError


class FaultyHub(HubServer):
    """The stand-in, with faults."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[Fault] = []

    def fault(self, kind: str, path: str = "", times: float = math.inf, **more: int) -> None:
        """Let the next `times` requests that match the pattern `path` go wrong."""
        self.faults.append(Fault(kind, path, times, **more))

    def quiet(self) -> None:
        """Forget faults and requests."""
        with self.lock:
            self.faults, self.requests, self.tokens = [], [], []

    def disturbance(self, request: str) -> Fault | None:
        """The fault that a request meets."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.path, request):
                    fault.times -= 1
                    return fault
        return None
