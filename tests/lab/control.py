"""Talks to a lab-init (see init/message.h)."""

import socket
import struct

from .errors import LabError

MESSAGE_BYTES_MAX = 128 * 1024


def connect(path):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(10)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        return None
    return connection


def init_pid(path):
    """The PID of the node's init as we see it; None if the node is down."""
    connection = connect(path)
    if connection is None:
        return None
    with connection:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return struct.unpack("iII", credentials)[0]


def ask(path, *fields):
    connection = connect(path)
    if connection is None:
        raise LabError("lab: the node is not up")
    with connection:
        connection.send(b"".join(str(field).encode() + b"\0" for field in fields))
        answer = connection.recv(MESSAGE_BYTES_MAX).decode().split("\0")[:-1]
    if not answer:
        raise LabError("lab: the node went down")
    if answer[0] != "ok":
        raise LabError(f"lab: {' '.join(answer[1:])}")
    return answer[1:]


def services(path):
    """{name: {state, pid, restarts}}"""
    fields = ask(path, "status")
    return {
        fields[i]: {"state": fields[i + 1], "pid": int(fields[i + 2]), "restarts": int(fields[i + 3])}
        for i in range(0, len(fields), 4)
    }
