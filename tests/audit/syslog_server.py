"""Debian's rsyslog with TLS and a CA of its own, started by the tests."""

from __future__ import annotations

import datetime
import ipaddress
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

T = TypeVar("T")

_RSYSLOGD = shutil.which("rsyslogd") or "/usr/sbin/rsyslogd"
_CONFIGURATION = """\
global(DefaultNetstreamDriver="gtls" DefaultNetstreamDriverCAFile="{folder}/ca.pem"
       DefaultNetstreamDriverCertFile="{folder}/server.pem" DefaultNetstreamDriverKeyFile="{folder}/server.key"
       workDirectory="{folder}")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
template(name="parts" type="string"
         string="%pri%|%timereported:::date-rfc3339%|%app-name%|%msgid%|%structured-data%|%msg%\\n")
input(type="imtcp" address="127.0.0.1" port="{port}")
action(type="omfile" file="{folder}/received" template="parts")
"""


def is_installed() -> bool:
    """Whether this machine has an rsyslog that speaks TLS."""
    modules = (Path("/usr/lib").glob("*/rsyslog/lmnsd_gtls.so"), Path("/usr/lib").glob("rsyslog/lmnsd_gtls.so"))
    return Path(_RSYSLOGD).exists() and any(True for found in modules for _ in found)


def until(check: Callable[[], T], *, timeout_s: float = 30.0) -> T:
    """The first true result of `check`."""
    deadline = time.monotonic() + timeout_s
    while not (result := check()):
        assert time.monotonic() < deadline, f"still {result!r}"
        time.sleep(0.02)
    return result


@dataclass(frozen=True)
class SyslogServer:
    """Where it listens, and what it received. It is down until `running`."""

    folder: Path
    port: int

    @classmethod
    def make(cls, folder: Path, *, name: str = "127.0.0.1") -> SyslogServer:
        folder.mkdir()
        write_certificates(folder, name)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        (folder / "rsyslog.conf").write_text(_CONFIGURATION.format(folder=folder, port=port))
        return cls(folder, port)

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def received(self) -> list[str]:
        """Lines, with the parts of a message as rsyslog understood them."""
        path = self.folder / "received"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    @contextmanager
    def running(self) -> Iterator[None]:
        command = [_RSYSLOGD, "-n", "-f", str(self.folder / "rsyslog.conf"), "-i", str(self.folder / "pid")]
        with open(self.folder / "output", "ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            until(lambda: process.poll() is not None or self._answers())
            assert process.poll() is None, (self.folder / "output").read_text()
            yield
        finally:
            process.terminate()
            process.wait(timeout=20)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


def write_certificates(folder: Path, name: str) -> None:
    """A CA and a server's certificate for `name`: ca.pem, server.pem, server.key."""
    now = datetime.datetime.now(datetime.UTC)
    ca_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])

    def builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
        )

    ca = (
        builder(ca_name, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        alternative = x509.DNSName(name)
    server = (
        builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "syslog")]), server_key)
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    (folder / "server.pem").write_bytes(server.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(
        server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
