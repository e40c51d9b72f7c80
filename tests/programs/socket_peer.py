"""Stays at home while those who are connected with it move: python3 socket_peer.py NAME. Listens there, gives back
every piece that it gets, reversed; whoever shuts its side gets the number of pieces, and then the end. Ends with its
standard input, and says on stdout how many connections ended so, or what was wrong."""

import socket
import sys
import threading

SIZE_BYTES = 4


def read_exactly(connection, size):
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            break
        data += piece
    return data


class Peer:
    def __init__(self):
        self.ended, self.wrong = 0, []

    def serve(self, connection):
        pieces = 0
        try:
            while head := read_exactly(connection, SIZE_BYTES):
                size = int.from_bytes(head, "little")
                piece = read_exactly(connection, size)
                if len(piece) != size:
                    raise EOFError(f"{len(piece)} of {size} bytes")
                connection.sendall(head + piece[::-1])
                pieces += 1
            connection.sendall(b"%d" % pieces)
            connection.close()
            self.ended += 1
        except (OSError, EOFError) as error:
            self.wrong.append(f"after {pieces} pieces: {error!r}")

    def listen(self, name):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(name)
        listener.listen()
        print("listening", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()


def main():
    peer = Peer()
    threading.Thread(target=peer.listen, args=(sys.argv[1],), daemon=True).start()
    sys.stdin.read()
    print("; ".join(peer.wrong) or f"{peer.ended} ended", flush=True)


main()
