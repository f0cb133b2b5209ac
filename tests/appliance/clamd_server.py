"""A real clamd with one signature, of the test file that every scanner knows."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from appliance_desk import until

#: In two pieces, so that no scanner finds it in this file.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-" + b"ANTIVIRUS-TEST-FILE!$H+H*"
SIGNATURE = "Eicar-Test-Signature.UNOFFICIAL"
MOST_BYTES = 64 * 1024

_PROGRAM = shutil.which("clamd") or "/usr/sbin/clamd"
# Archives and mail stay shut to it, so that what is inside is found where the appliance has unpacked it.
_CONFIGURATION = """\
LocalSocket {folder}/socket
TCPSocket {port}
TCPAddr 127.0.0.1
DatabaseDirectory {folder}/signatures
TemporaryDirectory {folder}/temporary
LogFile {folder}/log
Foreground yes
StreamMaxLength {most_bytes}
ScanArchive no
ScanMail no
"""


def is_installed() -> bool:
    return os.access(_PROGRAM, os.X_OK)


class Clamd:
    """A scanner on a socket and a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "signatures").mkdir()
        signature = f"Eicar-Test-Signature:0:*:{EICAR.hex()}\n"
        (folder / "signatures" / "local.ndb").write_text(signature)
        text = _CONFIGURATION.format(folder=folder, port=self.port, most_bytes=MOST_BYTES)
        (folder / "clamd.conf").write_text(text)

    @property
    def socket(self) -> str:
        return str(self.folder / "socket")

    def start(self) -> None:
        """Starts it and waits until it answers."""
        (self.folder / "temporary").mkdir(exist_ok=True)
        command = [_PROGRAM, f"--config-file={self.folder / 'clamd.conf'}"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._answers)

    def kill(self) -> None:
        """A crash."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """It takes connections, as the kernel does for it, and says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def is_called(self) -> bool:
        """Whether somebody is connected: the kernel lists the socket once more for each."""
        return sum(line.endswith(self.socket) for line in Path("/proc/net/unix").read_text().splitlines()) > 1

    def lose_temporary_folder(self) -> None:
        """It cannot keep what it is sent: it hangs up on every file, and still answers who asks how it is."""
        shutil.rmtree(self.folder / "temporary")

    def _answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, (self.folder / "log").read_text()
        try:
            with socket.socket(socket.AF_UNIX) as asking, socket.create_connection(("127.0.0.1", self.port), 5):
                asking.settimeout(5)
                asking.connect(self.socket)
                asking.sendall(b"zPING\0")
                return asking.recv(16) == b"PONG\0"
        except OSError:
            return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
