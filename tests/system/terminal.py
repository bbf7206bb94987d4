"""A program on a pseudo-terminal of its own: what it writes there, and what is typed to it."""

import errno
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

from engine_run import END_TIME_S, Failed

COLUMNS = 200  # Wider than any line, so that none is broken.


def shown(written):
    """Characters written over others replace them; an ended line is as far as it was written."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\a", "", written)
    lines = []
    for line in re.sub(r"\r+\n", "\n", plain).split("\n"):
        place, cells = 0, []
        for sign in line:
            if sign == "\r":
                place = 0
            elif sign == "\b":
                place -= 1
            else:
                cells[place:place + 1] = sign
                place += 1
        lines.append("".join(cells[:place]))
    return "\n".join(lines)


class Terminal:
    """The terminal is the program's controlling one: Ctrl-C is a signal to it."""

    def __init__(self, command, folder, name="dumb"):
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        self.found = termios.tcgetattr(self.ours)
        environment = {**os.environ, "TERM": name, "INPUTRC": "/dev/null"}
        self.process = subprocess.Popen(
            [str(word) for word in command], cwd=folder, env=environment, stdin=theirs,
            stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(theirs)
        self.written = b""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.ours)

    def text(self):
        """What was written since the last reading, as it stands on the screen up to the cursor."""
        return shown(self.written.decode(errors="replace"))

    def read_until(self, pattern):
        """The text up to where it matches; it is read then."""
        deadline = time.monotonic() + END_TIME_S
        while not re.search(pattern, self.text()):
            if not self.read(deadline):
                raise Failed(f"it ended without '{pattern}', but with {self.text()[-300:]!r}")
        text, self.written = self.text(), b""
        return text

    def read(self, deadline):
        """False: the program has closed the terminal."""
        if not select.select([self.ours], [], [], max(0, deadline - time.monotonic()))[0]:
            raise Failed(f"it has not gone on from {self.text()[-300:]!r}")
        try:
            self.written += os.read(self.ours, 1 << 16)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return False
        return True

    def type(self, keys):
        os.write(self.ours, keys.encode())

    def left_as_found(self):
        return termios.tcgetattr(self.ours) == self.found

    def end(self):
        """The exit code, and the rest of the text."""
        deadline = time.monotonic() + END_TIME_S
        while self.read(deadline):
            pass
        text, self.written = self.text(), b""
        return self.process.wait(END_TIME_S), text
