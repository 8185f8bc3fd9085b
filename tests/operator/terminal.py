"""Runs a program on a terminal of its own, and does to it what it is told.

Usage: terminal.py STEPS PROGRAM [ARGUMENT...], where STEPS is a list in JSON:
["wait", TEXT], ["send", KEYS], ["kill", SIGNAL], ["size", COLUMNS, ROWS],
["signal", PID, SIGNAL] for another process, and, last of all, ["hang up"]: the
terminal goes away.

Prints as JSON: the exit code (negative: the signal that ended it), all that it
wrote, and whether the terminal was left as it was found.
"""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

PATIENCE = 30
# Ctrl-L.
REDRAW = b"\x0c"

steps, words = json.loads(sys.argv[1]), sys.argv[2:]
main, line = pty.openpty()
before = termios.tcgetattr(line)


def resize(columns, rows):
    fcntl.ioctl(line, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


resize(80, 24)
hangs_up = steps and steps[-1] == ["hang up"]
child = os.fork()
if child == 0:
    os.setsid()
    if hangs_up:
        # As for those whose shell is gone before them.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    fcntl.ioctl(line, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2):
        os.dup2(line, fd)
    os.execvp(words[0], words)

wrote = b""


def read(seconds):
    """What it writes within that time."""
    global wrote
    if select.select([main], [], [], seconds)[0]:
        wrote += os.read(main, 65536)


def fail(why):
    os.kill(child, signal.SIGKILL)
    sys.exit(f"{why}; it wrote {wrote!r}")


seen = 0
for step in steps:
    what, rest = step[0], step[1:]
    if what == "wait":
        due = time.monotonic() + PATIENCE
        again = time.monotonic() + 1
        text = rest[0].encode()
        while text not in wrote[seen:]:
            if time.monotonic() > due:
                fail(f"in vain waited for {text!r}")
            if time.monotonic() > again:
                # What is there already is not written again, unless all is.
                os.write(main, REDRAW)
                again += 1
            read(0.1)
        seen = wrote.index(text, seen) + len(text)
    elif what == "send":
        os.write(main, rest[0].encode())
    elif what == "kill":
        os.kill(child, getattr(signal, rest[0]))
    elif what == "signal":
        os.kill(rest[0], getattr(signal, rest[1]))
    elif what == "size":
        # Which the kernel tells the program, once: a second time could come in
        # the moment of what is done next.
        resize(*rest)
    elif what == "hang up":
        os.close(line)
        os.close(main)

due = time.monotonic() + PATIENCE
while True:
    pid, status = os.waitpid(child, os.WNOHANG)
    if pid:
        break
    if time.monotonic() > due:
        fail("it does not end")
    if hangs_up:
        time.sleep(0.05)
    else:
        read(0.05)
if hangs_up:
    after = before
else:
    read(0)
    after = termios.tcgetattr(line)
print(
    json.dumps(
        {
            "code": os.waitstatus_to_exitcode(status),
            "wrote": wrote.decode(errors="replace"),
            "restored": after[:4] == before[:4],
        }
    )
)
