"""ClamAV, through clamd: every file is scanned before anything else opens it, when a site has set a scanner.

    segments of the decrypted file ──zINSTREAM──> clamd   "OK" | "<signature> FOUND" | "<words> ERROR"

Nothing is let through by a scanner that cannot answer: the file waits. The protocol is that of clamd(8): a command
that ends in NUL, chunks with their length before them, an empty chunk at the end, an answer that ends in NUL.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from contextlib import suppress

from django.conf import settings
from django.db.models import Q

from appliance.documents.models import DocumentVersion, VersionStatus
from appliance.lib.errors import ApplianceError, Conflict, Unavailable

#: The step in a version's log that says that its bytes were scanned and nothing was found.
SCANNED = "scanned"

_CONNECT_TIMEOUT_S = 5.0
_ASK_TIMEOUT_S = 3.0
_MOST_ANSWER_BYTES = 64 * 1024
_TOO_LARGE = "size limit exceeded"


class ScannerUnavailable(Unavailable):
    """clamd does not answer, or answers that it cannot scan. The file waits: it costs no attempt."""

    code = "scanner_unavailable"
    default_message = "The virus scanner is not answering."
    default_hint = "Files are kept unopened, and go on by themselves when it is back."


class ScanBroken(ApplianceError):
    """clamd took the file and then died or fell silent: perhaps the file's doing, so it costs an attempt."""

    code = "scan_broken"
    permanent = False
    default_message = "The virus scanner ended, or fell silent, while it looked at this file."


class Infected(ApplianceError):
    """clamd found something. `signature` is its name for it."""

    code = "infected"

    def __init__(self, signature: str) -> None:
        self.signature = signature
        super().__init__(
            f"The virus scanner found {signature} in this file.",
            hint="It is kept encrypted and can be neither opened nor downloaded. Delete it, or ask an administrator.",
        )


class TooLargeToScan(ApplianceError):
    """The file is larger than what clamd takes (its StreamMaxLength). Not scanned is not clean."""

    code = "too_large_to_scan"
    default_message = "This file is larger than the virus scanner takes, so it was not opened."
    default_hint = "Split it, or ask an administrator to raise the scanner's limit (StreamMaxLength)."


class NotScanned(Conflict):
    """The original of a file is held back until it has been scanned, and for good when something was found."""

    code = "not_scanned"
    default_message = "This file has not been scanned for viruses yet, so it cannot be downloaded."
    default_hint = "Try again when it is ready. If it could not be read, have it read again."


def is_on() -> bool:
    """Whether the site has set a scanner."""
    return settings.CLAMD is not None


def find(segments: Iterable[bytes]) -> str:
    """The name of what clamd found in these bytes; "" for nothing.

    Raises ScannerUnavailable, ScanBroken or TooLargeToScan: whatever is not a plain answer is no clean file.
    """
    with _connected(settings.CLAMD_TIMEOUT_S) as clamd:
        taken = _sent(clamd, b"zINSTREAM\0")
        for segment in segments:
            taken = taken and _sent(clamd, struct.pack("!L", len(segment)) + segment)
            if not taken:  # it hung up: mostly because it has had enough, and then it has said so
                break
        if taken:
            _sent(clamd, struct.pack("!L", 0))
        answer = _answer(clamd)
    if answer == "stream: OK":
        return ""
    if answer.startswith("stream: ") and answer.endswith(" FOUND"):
        return answer.removeprefix("stream: ").removesuffix(" FOUND")
    if _TOO_LARGE in answer:
        raise TooLargeToScan()
    if not answer:
        raise ScannerUnavailable("The virus scanner hung up without an answer.") if _is_alive() else ScanBroken()
    raise ScannerUnavailable(f"The virus scanner could not scan the file: {answer[:200]}")


def version() -> str:
    """What clamd says it is: its version, its signatures' number and date. Raises ScannerUnavailable."""
    with _connected(_ASK_TIMEOUT_S) as clamd:
        with suppress(ScanBroken):
            if _sent(clamd, b"zVERSION\0") and (answer := _answer(clamd)):
                return answer
        raise ScannerUnavailable()


def _is_alive() -> bool:
    try:
        return bool(version())
    except ScannerUnavailable:
        return False


def check_may_leave(version: DocumentVersion) -> None:
    """Raises NotScanned (`infected` where something was found) for an original that must not be handed out."""
    if version.error_code == Infected.code:
        raise NotScanned(version.error_reason, hint=version.error_hint, code=Infected.code)
    if not is_on() or version.status == VersionStatus.READY:  # what was ready before there was a scanner stays so
        return
    last = version.steps.filter(Q(step=SCANNED) | Q(detail__code=Infected.code)).order_by("-pk").first()
    if last is None or last.step != SCANNED:
        raise NotScanned()


def check_may_be_read_again(version: DocumentVersion) -> None:
    """Raises Conflict for a file in which something was found, when no scanner would look at it again."""
    if version.error_code == Infected.code and not is_on():
        raise Conflict(
            "The virus scanner found something in this file, and is off now: it is not opened unscanned.",
            hint="Delete the file, or ask an administrator to set the scanner again.",
            code=Infected.code,
        )


def _connected(timeout_s: float) -> socket.socket:
    """A connection to clamd on which each step may take `timeout_s`."""
    address = settings.CLAMD
    if address is None:
        raise ScannerUnavailable("No virus scanner is set.")
    try:
        if isinstance(address, tuple):
            clamd = socket.create_connection(address, timeout=_CONNECT_TIMEOUT_S)
        else:
            clamd = socket.socket(socket.AF_UNIX)
            try:
                clamd.settimeout(_CONNECT_TIMEOUT_S)
                clamd.connect(address)
            except BaseException:
                clamd.close()
                raise
    except OSError:
        raise ScannerUnavailable() from None
    clamd.settimeout(timeout_s)
    return clamd


def _sent(clamd: socket.socket, data: bytes) -> bool:
    """False when clamd has hung up. Raises ScanBroken when it takes nothing for too long."""
    try:
        clamd.sendall(data)
    except TimeoutError:
        raise ScanBroken() from None
    except OSError:
        return False
    return True


def _answer(clamd: socket.socket) -> str:
    """What clamd says, without the NUL at its end; "" when it hangs up before that. Raises ScanBroken for silence."""
    said = bytearray()
    try:
        while not said.endswith(b"\0") and len(said) < _MOST_ANSWER_BYTES:
            block = clamd.recv(4096)
            if not block:
                return ""
            said += block
    except TimeoutError:
        raise ScanBroken() from None
    except OSError:
        return ""
    return said[:-1].decode("utf-8", "replace").strip()
