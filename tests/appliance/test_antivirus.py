"""Every file is scanned before it is opened; what is infected stays shut; without the scanner nothing goes on."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from appliance_desk import Desk, blob_files, evidence_since, finished, last_event_id, refusal, search, until, upload
from clamd_server import EICAR, MOST_BYTES, SIGNATURE, Clamd, is_installed
from django.test import override_settings

from appliance.documents import antivirus
from appliance.documents.models import Document, DocumentVersion
from appliance.lib import env

pytestmark = pytest.mark.skipif(not is_installed(), reason="clamd is not installed")


@pytest.fixture(scope="module")
def clamd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clamd]:
    scanner = Clamd(tmp_path_factory.mktemp("clamd"))
    scanner.start()
    yield scanner
    scanner.kill()


@pytest.fixture(scope="module")
def scanned(desk: Desk, clamd: Clamd) -> Iterator[Desk]:
    """The appliance with the scanner set; afterwards without, as it was."""
    stack = desk.room.stack

    def restart() -> None:
        for part in ("worker", "web"):
            stack.restart(part)
        stack.wait_ready(120)

    stack.environment["APPLIANCE_CLAMD"] = clamd.socket
    stack.environment["APPLIANCE_CLAMD_TIMEOUT_S"] = "30"
    try:
        restart()
        with override_settings(CLAMD=clamd.socket):
            yield desk
    finally:
        del stack.environment["APPLIANCE_CLAMD"], stack.environment["APPLIANCE_CLAMD_TIMEOUT_S"]
        restart()


@pytest.fixture
def working(scanned: Desk, clamd: Clamd) -> Iterator[Clamd]:
    """The scanner, to be broken; afterwards it works again."""
    yield clamd
    clamd.kill()
    clamd.start()


def version_of(document: str) -> DocumentVersion:
    return DocumentVersion.objects.get(document=document)


def step_names(document: str) -> list[str]:
    return list(version_of(document).steps.order_by("pk").values_list("step", flat=True))


def content(client: httpx.Client, document: str) -> httpx.Response:
    return client.get(f"/api/v1/documents/{document}/versions/1/content")


def scanner_state(client: httpx.Client) -> str:
    return str(client.get("/api/v1/health/ready").json()["parts"]["scanner"])


def test_a_clean_file_is_scanned_and_then_read(scanned: Desk, mary: httpx.Client, matter: str) -> None:
    sent = upload(mary, matter, "clean.txt", b"The dunnock sings from the hedge.")
    document = sent.json()["id"]
    assert finished(mary, document)["status"] == "ready"
    assert step_names(document)[:3] == ["started", "scanned", "read"]
    assert content(mary, document).content == b"The dunnock sings from the hedge."
    parts = scanned.room.manage("doctor")["parts"]
    assert parts["scanner"]["status"] == "ok" and parts["scanner"]["detail"].startswith("ClamAV 1.")
    with closing(scanned.room.browser_session("cora")) as cora:
        assert "Virus scanner" in cora.get("/status").text


def test_an_infected_file_is_put_aside_and_never_handed_out(scanned: Desk, mary: httpx.Client, matter: str) -> None:
    blobs, before = blob_files(scanned.room), last_event_id()
    letter = b"The bullfinch is here. " + EICAR
    document = upload(mary, matter, "letter.txt", letter).json()["id"]
    found = finished(mary, document)
    assert (found["status"], found["error"]["code"]) == ("quarantined", "infected")
    assert SIGNATURE in found["error"]["message"] and found["error"]["hint"]
    (ended,) = evidence_since(before, type="ingest")
    assert ended["detail"] == {"code": "infected", "signature": SIGNATURE}
    (kept,) = blob_files(scanned.room) - blobs
    assert EICAR not in kept.read_bytes()
    assert refusal(content(mary, document)) == (409, "infected")
    assert not evidence_since(before, type="access")
    assert search(mary, "bullfinch", matter)["results"] == []
    assert "scanned" not in step_names(document)


def test_an_infected_file_is_scanned_again_before_it_is_read_again(
    scanned: Desk, mary: httpx.Client, matter: str
) -> None:
    from appliance.accounts.models import User
    from appliance.documents.versions import do_retry
    from appliance.lib.errors import Conflict
    from appliance.ops.commands import COMMAND

    document = upload(mary, matter, "again.txt", b"Once more: " + EICAR).json()["id"]
    finished(mary, document)
    who = {"acting_user": User.objects.get(username="mary"), "actor": COMMAND}
    with override_settings(CLAMD=None), pytest.raises(Conflict) as refused:
        do_retry(document, 1, **who)
    assert refused.value.public_code == "infected"
    with override_settings(CLAMD=None), pytest.raises(antivirus.NotScanned):
        antivirus.check_may_leave(version_of(document))
    do_retry(document, 1, **who)
    assert finished(mary, document)["error"]["code"] == "infected"
    assert step_names(document).count("quarantined") == 2


def test_what_comes_out_of_a_file_is_scanned_like_any_other(scanned: Desk, mary: httpx.Client, matter: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good.txt", "The goldcrest weighs five grams.")
        archive.writestr("bad.txt", EICAR + b" " * 200)
    upload(mary, matter, "two.zip", packed.getvalue(), "application/zip")
    wanted = {"two.zip": "ready", "two.zip/good.txt": "ready", "two.zip/bad.txt": "quarantined"}

    def look() -> bool:
        rows = Document.objects.filter(collection=matter).values_list("filename", "versions__status")
        return dict(rows) == wanted

    until(look)


def test_while_the_scanner_is_down_files_wait_unopened_and_then_go_on(
    working: Clamd, mary: httpx.Client, matter: str
) -> None:
    working.kill()
    assert mary.get("/api/v1/health/ready").status_code == 503 and scanner_state(mary) == "down"
    document = upload(mary, matter, "wait.txt", b"The nightjar waits for dusk.").json()["id"]
    until(lambda: version_of(document).error_code == "scanner_unavailable")
    waiting = version_of(document)
    assert (waiting.status, waiting.attempts) == ("queued", 0)
    assert step_names(document) == ["started", "waits"]
    assert refusal(content(mary, document)) == (409, "not_scanned")
    working.start()
    found = finished(mary, document)
    assert (found["status"], found["error"], version_of(document).attempts) == ("ready", None, 1)
    assert scanner_state(mary) == "ok"


def test_a_scanner_that_cannot_scan_lets_nothing_through(working: Clamd, mary: httpx.Client, matter: str) -> None:
    working.lose_temporary_folder()
    document = upload(mary, matter, "no-room.txt", b"The whinchat sits on the gorse.").json()["id"]
    until(lambda: version_of(document).error_code == "scanner_unavailable")
    assert (version_of(document).status, version_of(document).attempts) == ("queued", 0)


def test_a_scanner_that_dies_over_a_file_costs_it_an_attempt(working: Clamd, mary: httpx.Client, matter: str) -> None:
    working.pause()
    document = upload(mary, matter, "heavy.txt", b"The corncrake calls all night.").json()["id"]
    until(working.is_called, every_s=0.02)
    working.kill()
    until(lambda: version_of(document).error_code == "scan_broken")
    assert (version_of(document).status, version_of(document).attempts) == ("queued", 1)


def test_a_file_beyond_the_scanners_limit_is_refused_not_passed(scanned: Desk, mary: httpx.Client, matter: str) -> None:
    document = upload(mary, matter, "long.txt", b"The rook. " * (MOST_BYTES // 8)).json()["id"]
    found = finished(mary, document)
    assert (found["status"], found["error"]["code"]) == ("failed", "too_large_to_scan")
    assert "StreamMaxLength" in found["error"]["hint"]
    assert refusal(content(mary, document)) == (409, "not_scanned")


@pytest.mark.parametrize("over", ["socket", "port"])
def test_the_scanner_answers_over_its_socket_and_over_its_port(clamd: Clamd, over: str) -> None:
    address: Any = clamd.socket if over == "socket" else ("127.0.0.1", clamd.port)
    with override_settings(CLAMD=address, CLAMD_TIMEOUT_S=30.0):
        assert antivirus.find([b"The rook ", b"caws."]) == ""
        assert antivirus.find([EICAR[:20], EICAR[20:]]) == SIGNATURE
        for segments in ([b"a" * (MOST_BYTES + 1)], [b"a" * 1_000_000] * 20):
            with pytest.raises(antivirus.TooLargeToScan):
                antivirus.find(segments)
        assert antivirus.version().startswith("ClamAV 1.")


def test_silence_is_not_an_answer(clamd: Clamd) -> None:
    with override_settings(CLAMD=clamd.socket, CLAMD_TIMEOUT_S=0.2):
        clamd.pause()
        try:
            with pytest.raises(antivirus.ScanBroken):
                antivirus.find([EICAR])
        finally:
            clamd.go_on()


def test_a_blob_that_cannot_be_read_is_not_taken_for_a_scanner_that_hung_up(clamd: Clamd) -> None:
    def torn() -> Iterator[bytes]:
        yield b"The rook "
        raise OSError("the disk is broken")

    with override_settings(CLAMD=clamd.socket, CLAMD_TIMEOUT_S=30.0), pytest.raises(OSError, match="disk"):
        antivirus.find(torn())


@pytest.mark.parametrize("value", ["clamd.socket", "host", ":3310", "host:0", "host:99999", "host:port"])
def test_a_wrong_address_stops_the_start(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLIANCE_CLAMD", value)
    with pytest.raises(env.SettingError, match="APPLIANCE_CLAMD"):
        env.socket_address("APPLIANCE_CLAMD")


def test_an_address_is_a_path_or_a_host_with_its_port(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, object] = {
        "": None,
        "/run/clamd": "/run/clamd",
        "clam:3310": ("clam", 3310),
        "[::1]:1": ("::1", 1),
    }
    for value, address in known.items():
        monkeypatch.setenv("APPLIANCE_CLAMD", value)
        assert env.socket_address("APPLIANCE_CLAMD") == address
