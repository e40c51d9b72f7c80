"""Throws garbage at a socket of ssid's, from the node it runs on: garbage.py ADDRESS KIND < MESSAGES

ADDRESS is a path or HOST:PORT, KIND stream or seqpacket, MESSAGES a JSON list of lists of messages in hex:
each list goes over a connection of its own, which is then shut down for writing. Prints a JSON list with what
came of each connection: the bytes that came back in hex, and whether it was closed within the time limit."""

import errno
import json
import socket
import sys

CLOSED_S = 15
MORE_THAN_ENOUGH = 1 << 20


def connect(address, kind):
    if ":" in address:
        host, port = address.rsplit(":", 1)
        return socket.create_connection((host, int(port)), CLOSED_S)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM if kind == "stream" else socket.SOCK_SEQPACKET)
    made.settimeout(CLOSED_S)
    made.connect(address)
    return made


def throw(address, kind, messages):
    came_back = b""
    closed = False
    with connect(address, kind) as connection:
        try:
            for message in messages:
                if kind == "stream":
                    connection.sendall(bytes.fromhex(message))
                else:
                    connection.send(bytes.fromhex(message))
            connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            closed = True  # it was closed before all was said
        except OSError as error:
            closed = error.errno == errno.ENOTCONN
            if not closed and error.errno != errno.EMSGSIZE:  # the kernel did not take it
                raise
        try:
            while len(came_back) < MORE_THAN_ENOUGH:
                part = connection.recv(65536)
                if not part:
                    closed = True
                    break
                came_back += part
        except (ConnectionResetError, BrokenPipeError):
            closed = True
        except TimeoutError:
            pass
    return {"closed": closed, "came_back": came_back.hex()}


def main():
    address, kind = sys.argv[1:3]
    print(json.dumps([throw(address, kind, messages) for messages in json.load(sys.stdin)]))


main()
