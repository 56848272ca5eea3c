"""A write-only file whose bytes are taken away as they come."""

from __future__ import annotations

import io


class Sink(io.RawIOBase):
    """What writers of whole files write into, so that the file can be sent before it is whole.

    It cannot seek, which pyarrow and zipfile both cope with.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self._pieces.append(piece)
        return len(piece)

    def take(self) -> bytes:
        """Everything written since the last call."""
        whole = b"".join(self._pieces)
        self._pieces.clear()
        return whole
