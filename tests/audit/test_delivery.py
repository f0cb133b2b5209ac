"""Checkpoints leave the appliance: to a folder, and to Debian's rsyslog over TLS. Sealing waits for neither."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from seal_bench import Bench, append
from syslog_server import SyslogServer, is_installed, until

from appliance.audit import keys, sealer, verifier
from appliance.audit.delivery.courier import Courier, Couriers
from appliance.audit.delivery.files import Folder
from appliance.audit.delivery.heads import Channel, Head, Undelivered
from appliance.audit.delivery.settings import channels
from appliance.audit.delivery.syslog import Syslog, framed, message
from appliance.audit.notes import Checkpoint, PrivateKey
from appliance.audit.sealing import last_head, load_tree, seal
from appliance.lib.env import SettingError
from appliance.ops.environment import REPOSITORY, sealer_environment

needs_rsyslog = pytest.mark.skipif(not is_installed(), reason="rsyslog and rsyslog-gnutls are not installed")


def head(key: PrivateKey, size: int) -> Head:
    root = bytes([size]) * 32
    note = Checkpoint(key.name, size, root, ("time 2026-11-20T22:00:00Z",)).signed(key)
    return Head(size, size, root, note, datetime(2026, 11, 20, 22, 0, size, tzinfo=UTC))


def seal_one(bench: Bench, key: PrivateKey) -> str:
    """A new event under a new head; the head's note."""
    with bench.connect("app") as app, bench.connect("sealer") as connection:
        append(app)
        before = last_head(connection)
        keys.announce(connection, key, before.size)
        seal(connection, key, load_tree(connection, before), before)
        row = connection.execute("SELECT note FROM audit_checkpoint ORDER BY size DESC LIMIT 1").fetchone()
    assert row is not None
    return str(row[0])


def deliveries(bench: Bench) -> list[tuple[str, str, int, str]]:
    """Channel, target, size and problem of each, in their order."""
    with bench.connect("worker") as worker:
        return worker.execute(
            "SELECT d.channel, d.target, c.size, d.problem FROM audit_delivery d "
            "JOIN audit_checkpoint c ON c.id = d.checkpoint_id ORDER BY d.id"
        ).fetchall()  # type: ignore[return-value]


@contextmanager
def courier(bench: Bench, channel: Channel, *, every_s: float = 60.0) -> Iterator[Courier]:
    made = Courier(bench.stack.environment["APPLIANCE_DATABASE_SEALER_URL"], channel, every_s=every_s, retry_s=0.05)
    made.start()
    try:
        yield made
    finally:
        made.stop(wait_s=20)


def test_a_folder_has_the_newest_head_and_each_days(tmp_path: Path, key: PrivateKey) -> None:
    folder, first, second = Folder(tmp_path), head(key, 1), head(key, 2)
    folder.deliver(first)
    folder.deliver(second)
    assert (tmp_path / "checkpoint").read_text() == second.note
    assert sorted(each.name for each in tmp_path.iterdir()) == ["checkpoint", "checkpoints-2026-11-20"]
    assert verifier.notes_in((tmp_path / "checkpoints-2026-11-20").read_text()) == [first.note, second.note]


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path, key: PrivateKey) -> None:
    with pytest.raises(Undelivered, match="No such file"):
        Folder(tmp_path / "stick").deliver(head(key, 1))
    assert not (tmp_path / "stick").exists()


def test_a_message_is_as_the_standards_have_it(key: PrivateKey) -> None:
    """RFC 5424, 6: header, structured data, text; RFC 5425, 4.3: the length before it."""
    sent = head(key, 7)
    data = message(sent)
    parts = re.fullmatch(
        r"<109>1 2026-11-20T22:00:07\.000000Z \S{1,255} reading-room \d{1,128} checkpoint "
        r'\[checkpoint@32473 size="7" root="(07){32}" note="[A-Za-z0-9+/=]+"\] audit checkpoint: 7 events',
        data.decode("ascii"),
    )
    assert parts is not None, data
    assert verifier.notes_in(data.decode()) == [sent.note]
    assert framed(data) == str(len(data)).encode() + b" " + data


@needs_rsyslog
def test_rsyslog_receives_a_head_that_the_verifier_reads(tmp_path: Path, key: PrivateKey) -> None:
    server, sent = SyslogServer.make(tmp_path / "syslog"), head(key, 9)
    with server.running():
        Syslog("127.0.0.1", server.port, server.ca_file).deliver(sent)
        (line,) = until(lambda: server.received)
    pri, at, app, msgid, data, text = line.split("|")
    assert (pri, at, app, msgid) == ("109", "2026-11-20T22:00:09.000000Z", "reading-room", "checkpoint")
    assert verifier.notes_in(data) == [sent.note] and text.strip() == "audit checkpoint: 9 events"


@needs_rsyslog
def test_a_server_that_is_not_who_it_should_be_gets_nothing(tmp_path: Path, key: PrivateKey) -> None:
    server = SyslogServer.make(tmp_path / "syslog")
    other = SyslogServer.make(tmp_path / "other", name="syslog.example.org")
    with server.running(), other.running():
        with pytest.raises(Undelivered, match="not trusted"):
            Syslog("127.0.0.1", server.port, other.ca_file).deliver(head(key, 1))
        with pytest.raises(Undelivered, match="not trusted: IP address mismatch"):
            Syslog("127.0.0.1", other.port, other.ca_file).deliver(head(key, 1))
        Syslog("127.0.0.1", server.port, server.ca_file).deliver(head(key, 2))
        until(lambda: server.received)
    assert len(server.received) == 1 and other.received == []


@needs_rsyslog
def test_a_server_that_was_down_gets_the_newest_head_when_it_is_up(
    bench: Bench, key: PrivateKey, tmp_path: Path
) -> None:
    server = SyslogServer.make(tmp_path / "syslog")
    target = f"127.0.0.1:{server.port}"
    seal_one(bench, key)
    with courier(bench, Syslog("127.0.0.1", server.port, server.ca_file), every_s=0.05) as sent:
        until(lambda: deliveries(bench))
        newest = seal_one(bench, key)
        sent.offer()
        assert deliveries(bench) == [("syslog", target, 1, "Connection refused")]
        with server.running():
            until(lambda: server.received and len(deliveries(bench)) == 2)
        last = seal_one(bench, key)
        sent.offer()
        until(lambda: len(deliveries(bench)) == 3)
        with server.running():
            until(lambda: len(server.received) == 2 and len(deliveries(bench)) == 4)
    assert [verifier.notes_in(line) for line in server.received] == [[newest], [last]]
    assert deliveries(bench) == [
        ("syslog", target, 1, "Connection refused"),
        ("syslog", target, 2, ""),
        ("syslog", target, 3, "Connection refused"),
        ("syslog", target, 3, ""),
    ]


def test_a_courier_brings_the_newest_once_and_the_last_before_it_stops(
    bench: Bench, key: PrivateKey, tmp_path: Path
) -> None:
    first = seal_one(bench, key)
    with courier(bench, Folder(tmp_path)) as sent:
        until(lambda: deliveries(bench))
        assert (tmp_path / "checkpoint").read_text() == first
        for _ in range(3):
            newest = seal_one(bench, key)
            sent.offer()
    assert (tmp_path / "checkpoint").read_text() == newest
    with courier(bench, Folder(tmp_path)):
        pass
    assert deliveries(bench) == [("file", str(tmp_path), 1, ""), ("file", str(tmp_path), 4, "")]


def test_sealing_does_not_wait_for_a_server_that_does_not_answer(bench: Bench, key: PrivateKey, tmp_path: Path) -> None:
    stopped = threading.Event()
    url = bench.stack.environment["APPLIANCE_DATABASE_SEALER_URL"]
    with socket.create_server(("127.0.0.1", 0)) as silent, bench.connect("app") as app:
        places = [Folder(tmp_path), Syslog("127.0.0.1", silent.getsockname()[1], None)]
        with Couriers(url, places) as couriers:
            signing = sealer.Signing(key)
            running = threading.Thread(
                target=sealer.run, args=(url, signing, stopped), kwargs={"offer": couriers.offer}
            )
            running.start()
            append(app)
            silent.settimeout(60)
            with silent.accept()[0]:  # the courier is there, and waits for an answer
                sealed = "SELECT coalesce(max(size), 0) FROM audit_checkpoint"
                until(lambda: app.execute(sealed).fetchone() == (1,))
                append(app)
                until(lambda: app.execute(sealed).fetchone() == (2,))
            silent.close()
            stopped.set()
            running.join(timeout=20)
    assert not running.is_alive()
    assert (tmp_path / "checkpoint").read_text() == app_notes(bench)[0]


def test_the_sealers_process_delivers_and_brings_the_last_head_when_it_is_stopped(
    bench: Bench, key: PrivateKey, tmp_path: Path
) -> None:
    site = {name: value for name, value in bench.stack.environment.items() if not name.startswith("APPLIANCE_SEAL_KEY")}
    site |= {"APPLIANCE_SEAL_KEY": key.secret_text(), "APPLIANCE_CHECKPOINT_DIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "appliance.audit.sealer"], cwd=REPOSITORY, env=sealer_environment(site)
    )
    try:
        with bench.connect("app") as app:
            for number in (1, 2):
                append(app)
                until(lambda: process.poll() is not None or len(app_notes(bench)) == number)  # noqa: B023
            until((tmp_path / "checkpoint").exists)
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 0
    assert (tmp_path / "checkpoint").read_text() == app_notes(bench)[0]


def app_notes(bench: Bench) -> list[str]:
    """Of all heads, the newest first."""
    with bench.connect("app") as app:
        return [row[0] for row in app.execute("SELECT note FROM audit_checkpoint ORDER BY size DESC")]


def test_settings_say_where_heads_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DIR", "SYSLOG", "SYSLOG_CA"):
        monkeypatch.delenv(f"APPLIANCE_CHECKPOINT_{name}", raising=False)
    assert channels() == []
    monkeypatch.setenv("APPLIANCE_CHECKPOINT_DIR", str(tmp_path))
    monkeypatch.setenv("APPLIANCE_CHECKPOINT_SYSLOG", "syslog.example.org:6514")
    assert channels() == [Folder(tmp_path), Syslog("syslog.example.org", 6514, None)]
    for name, wrong in (("DIR", "stick"), ("SYSLOG", "/dev/log"), ("SYSLOG", "host"), ("SYSLOG_CA", "/none.pem")):
        with monkeypatch.context() as changed:
            changed.setenv(f"APPLIANCE_CHECKPOINT_{name}", wrong)
            with pytest.raises(SettingError, match=f"APPLIANCE_CHECKPOINT_{name}"):
                channels()
