"""Sends datagrams to datagram_server.py: datagram_client.py ADDRESS REPORT [WHO]: "one" is connected and sends all the time, "many" is a
socket of its own for each; WHO: one of these alone. REPORT is there once "one" is connected; SIGTERM: how many of each, one line of JSON, goes
to it."""

import json
import signal
import socket
import sys
import threading
import time


def main(address, report, *who):
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    address = "\0" + address[1:] if address.startswith("@") else address
    counts = {"one": 0, "many": 0, "longest_ms": 0, "failures": []}

    def connected():
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.connect(address)
        return made

    def send(made, who):
        size = 100000 if counts[who] % 100 == 99 else 100
        since = time.monotonic()
        made.send(b"%s %d %s" % (who.encode(), counts[who] + 1, b"x" * size))
        counts[who] += 1
        counts["longest_ms"] = max(counts["longest_ms"], round(1000 * (time.monotonic() - since)))

    def run(who):
        while not ended.is_set():
            try:
                if who == "one":
                    send(stays, who)
                else:
                    with connected() as made:
                        send(made, who)
            except OSError as error:
                counts["failures"].append(repr(error))
                return
            time.sleep(0.001 if who == "one" else 0.01)
    who = who or ("one", "many")
    stays = connected() if "one" in who else None
    open(report, "w").close()
    threads = [threading.Thread(target=run, args=(each,)) for each in who]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open(report, "w") as words:
        words.write(json.dumps(counts) + "\n")


main(*sys.argv[1:])
