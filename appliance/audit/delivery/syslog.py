"""Syslog over TLS: RFC 5424 messages in RFC 5425 frames. One connection for each head, closed in order.

Syslog answers nothing. That the server has read everything is taken from its end of the connection: it must close
without an error after we have said that we are done.
"""

from __future__ import annotations

import base64
import os
import platform
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from appliance.audit.delivery.heads import Head, Undelivered

#: Facility 13 (log audit), severity 5 (notice).
_PRIORITY = 13 * 8 + 5
_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Syslog:
    """A server by name and port, whose certificate `ca_file` (PEM) vouches for; its name is checked."""

    host: str
    port: int
    ca_file: Path | None
    channel: str = "syslog"

    @property
    def target(self) -> str:
        return f"{self.host}:{self.port}"

    def deliver(self, head: Head) -> None:
        """Raises Undelivered."""
        try:
            with (
                socket.create_connection((self.host, self.port), timeout=_TIMEOUT_S) as plain,
                self._context().wrap_socket(plain, server_hostname=self.host, suppress_ragged_eofs=False) as secure,
            ):
                secure.sendall(framed(message(head)))
                _finish(secure)
        except ssl.SSLCertVerificationError as error:
            raise Undelivered(f"the server's certificate is not trusted: {error.verify_message}") from error
        except OSError as error:
            raise Undelivered(_words(error)) from error
        except ValueError as error:  # a name that no host can have
            raise Undelivered(f"the server's name cannot be used: {error}") from error

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca_file and str(self.ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


def message(head: Head) -> bytes:
    """The note stands in it whole, in base64: the verifier reads it out of the server's file again."""
    at = head.signed_at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    packed = base64.b64encode(head.note.encode()).decode()
    data = f'[checkpoint@32473 size="{head.size}" root="{head.root.hex()}" note="{packed}"]'
    host = platform.node()[:255] or "-"
    text = f"audit checkpoint: {head.size} events"
    return f"<{_PRIORITY}>1 {at} {host} reading-room {os.getpid()} checkpoint {data} {text}".encode()


def framed(data: bytes) -> bytes:
    """With its length before it (RFC 5425, 4.3)."""
    return b"%d %s" % (len(data), data)


def _finish(secure: ssl.SSLSocket) -> None:
    """Says that we are done, and waits for the server to close. Raises OSError when it breaks off instead."""
    try:
        secure.unwrap()
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        return  # closed, without the alert that TLS asks for
    except OSError as error:
        # Without an errno it is the end of the stream, as OpenSSL tells it where the alert is missing.
        if error.errno:
            raise


def _words(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    return str(error.strerror or error)
