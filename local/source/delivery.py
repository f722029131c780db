"""Whether the other side has what was sent."""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import termios
import time


def is_delivered(connection: socket.socket, seconds: float) -> bool:
    """Whether, within `seconds`, the peer's machine acknowledges every byte written and the connection isn't broken.

    A peer that closes with bytes unread, or dies, resets the connection: that is not delivered.
    """
    deadline = time.monotonic() + seconds
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    while connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
        if _unacknowledged(connection) == 0:
            return not (poller.poll(0) and _is_reset(connection))
        if time.monotonic() > deadline:
            return False
        if poller.poll(2):  # the next request comes with the last acknowledgement
            time.sleep(0.0005)
    return False


def _unacknowledged(connection: socket.socket) -> int:
    """Bytes in the send queue that the peer has not acknowledged."""
    return int(struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0" * 4))[0])


def _is_reset(connection: socket.socket) -> bool:
    """Whether a connection that has something to say says that it is broken; a request or an orderly end is not."""
    try:
        connection.recv(1, socket.MSG_PEEK)
    except OSError:
        return True
    return False
