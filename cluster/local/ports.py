"""Ports for servers that are started in processes of their own."""

from __future__ import annotations

import random
import socket

_LOW, _HIGH = 20_000, 32_000
"""Below those that Linux hands out: nobody who asks for any port gets one of these before the
server that it was chosen for has bound it.
"""


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 on which nobody listens."""
    found: list[int] = []
    # Not seeded: processes that run side by side must not choose the same.
    while len(found) < count:
        port = random.SystemRandom().randrange(_LOW, _HIGH)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
