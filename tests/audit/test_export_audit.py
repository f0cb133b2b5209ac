"""An export, checked on "another machine": by the file inside it, in a Python that knows nothing of the appliance."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from seal_bench import Bench
from tampering import HEADS, as_attacker, delete_event, edit, sealed_log

from appliance.audit.exporting import export_log
from appliance.audit.notes import Checkpoint, PrivateKey
from appliance.audit.tree import leaf_hash
from appliance.lib.errors import Conflict
from appliance.ops.environment import REPOSITORY

Change = Callable[[dict[str, list[bytes]]], None]


@dataclass(frozen=True)
class Taken:
    """An export somewhere else: the file, the verifier that was taken out of it, and the newest head."""

    path: Path
    verifier: Path
    key: PrivateKey
    note: str

    def check(self, *arguments: str, path: Path | None = None) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, "-I", str(self.verifier), str(path or self.path), "--json", *arguments],
            cwd=self.path.parent,
            env={},
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}

    def changed(self, change: Change) -> Path:
        """The same export after somebody has changed its lines."""
        names = ("events.jsonl", "checkpoints.jsonl", "keys.jsonl")
        with zipfile.ZipFile(self.path) as archive:
            parts = {name: archive.read(name).splitlines(keepends=True) for name in names}
        change(parts)
        made = self.path.with_name("changed.zip")
        with zipfile.ZipFile(made, "w") as archive:
            for name, lines in parts.items():
                archive.writestr(name, b"".join(lines))
        return made


def export(bench: Bench, path: Path) -> list[int]:
    announced: list[int] = []
    with bench.connect("worker", autocommit=False) as connection:
        export_log(connection, path, announce=announced.append)
    return announced


@pytest.fixture
def taken(bench: Bench, key: PrivateKey, tmp_path: Path) -> Taken:
    sealed_log(bench, key)
    path = tmp_path / "audit.zip"
    assert export(bench, path) == [HEADS[-1]]
    with zipfile.ZipFile(path) as archive:
        assert set(archive.namelist()) == {
            *("README.txt", "verify_audit.py", "keys.jsonl", "checkpoints.jsonl", "events.jsonl")
        }
        archive.extract("verify_audit.py", tmp_path)
        note = json.loads(archive.read("checkpoints.jsonl").splitlines()[-1])["note"]
    return Taken(path, tmp_path / "verify_audit.py", key, note)


def test_an_export_is_checked_by_the_file_inside_it(taken: Taken) -> None:
    assert taken.path.stat().st_mode & 0o777 == 0o600
    note = taken.path.with_name("checkpoint")
    note.write_text(taken.note)
    status, told = taken.check("--key", str(taken.key.public), "--checkpoint", str(note))
    assert (status, told["sound"], told["size"], told["checked"], told["checkpoints"]) == (0, True, 610, 610, 5)
    assert told["root"] == Checkpoint.parse(taken.note.partition("\n\n")[0] + "\n").root.hex()
    with zipfile.ZipFile(taken.path) as archive:
        lines = [json.loads(line) for line in archive.read("events.jsonl").splitlines()]
    assert [line["leaf"] for line in lines] == list(range(610)) and lines[7]["event"]["detail"] == {"number": 7}


def _event(parts: dict[str, list[bytes]], index: int, *, fingerprint: bool = False) -> None:
    line = parts["events.jsonl"][index].replace(b'"alice"', b'"mallo"')
    if fingerprint:
        event = line.partition(b'"event":')[2].rstrip()[:-1]
        line = re.sub(rb'"hash":"[0-9a-f]{64}"', b'"hash":"%s"' % leaf_hash(event).hex().encode(), line)
    parts["events.jsonl"][index] = line


def _swap(parts: dict[str, list[bytes]]) -> None:
    lines = parts["events.jsonl"]
    lines[40], lines[500] = lines[500], lines[40]


def _cut(parts: dict[str, list[bytes]]) -> None:
    del parts["events.jsonl"][555:]


def _insert(parts: dict[str, list[bytes]]) -> None:
    parts["events.jsonl"].append(parts["events.jsonl"][-1].replace(b'{"leaf":609', b'{"leaf":610'))


def _signature(parts: dict[str, list[bytes]]) -> None:
    parts["checkpoints.jsonl"][1] = parts["checkpoints.jsonl"][1].replace(b"time 2", b"time 1")


def _stranger(parts: dict[str, list[bytes]]) -> None:
    note = json.loads(parts["checkpoints.jsonl"][1])["note"]
    stranger = PrivateKey.make("reading-room/test")
    signed = Checkpoint.parse(note.partition("\n\n")[0] + "\n").signed(stranger)
    parts["checkpoints.jsonl"][1] = json.dumps({"note": signed}).encode() + b"\n"


def _chain(parts: dict[str, list[bytes]]) -> None:
    parts["keys.jsonl"].append(parts["keys.jsonl"][0].replace(b"\\n0\\n", b"\\n9\\n"))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda parts: _event(parts, 17), [("event_edited", 17, None)], id="edited"),
        pytest.param(
            lambda parts: _event(parts, 17, fingerprint=True), [("root_differs", 0, 300)], id="edited with fingerprint"
        ),
        pytest.param(lambda parts: parts["events.jsonl"].pop(33), [("leaf_deleted", 33, None)], id="deleted"),
        pytest.param(_swap, [("events_swapped", 40, None)], id="swapped"),
        pytest.param(_cut, [("tail_missing", 555, 610)], id="cut"),
        pytest.param(_insert, [("leaves_unsigned", 610, 611)], id="inserted"),
        pytest.param(_signature, [("signature_wrong", 520, None)], id="signature"),
        pytest.param(
            lambda parts: parts["checkpoints.jsonl"].insert(0, b"[[[\n"),
            [("checkpoint_unreadable", 0, None)],
            id="no checkpoint",
        ),
        pytest.param(_stranger, [("key_unknown", 520, None)], id="unknown key"),
        pytest.param(_chain, [("key_chain_broken", 0, None)], id="key chain"),
    ],
)
def test_a_changed_export_is_shown(taken: Taken, change: Change, expected: list[tuple[str, int, int | None]]) -> None:
    status, told = taken.check(path=taken.changed(change))
    assert status == 1 and told["sound"] is False
    assert [(each["code"], each["position"], each.get("end")) for each in told["findings"]] == expected


def test_an_older_or_forked_export_is_shown_by_a_checkpoint_from_outside(taken: Taken) -> None:
    def older(parts: dict[str, list[bytes]]) -> None:
        del parts["events.jsonl"][520:], parts["checkpoints.jsonl"][2:]

    packed = base64.b64encode(taken.note.encode()).decode()
    syslog = taken.path.with_name("syslog")
    syslog.write_text(f'Nov 20 22:00:00 room reading-room - checkpoint [checkpoint@32473 note="{packed}"] 610 events\n')
    made = taken.changed(older)
    assert taken.check(path=made)[0] == 0
    status, told = taken.check("--checkpoint", str(syslog), path=made)
    assert status == 1
    assert [(each["code"], each["position"], each["end"]) for each in told["findings"]] == [
        ("older_than_checkpoint", 520, 610)
    ]
    fork = taken.path.with_name("fork")
    fork.write_text(Checkpoint(taken.key.name, 520, bytes(32)).signed(taken.key))
    status, told = taken.check("--checkpoint", str(fork))
    assert (status, told["findings"][0]["code"], told["findings"][0]["end"]) == (1, "history_forked", 520)


def test_damage_in_the_database_is_damage_in_its_export(taken: Taken, bench: Bench) -> None:
    with as_attacker(bench) as superuser:
        edit(17)(superuser)
        delete_event(300)(superuser)
        superuser.execute("UPDATE audit_auditevent SET canonical = '\\x7b0a7d' WHERE canonical LIKE '%\"number\":44}%'")
    again = taken.path.with_name("again.zip")
    export(bench, again)
    status, told = taken.check(path=again)
    assert status == 1
    assert [(each["code"], each["position"]) for each in told["findings"]] == [
        ("event_edited", 17),
        ("event_edited", 44),
        ("event_deleted", 300),
    ]


def test_what_is_no_export_cannot_be_checked(taken: Taken) -> None:
    nothing = taken.path.with_name("nothing.zip")
    nothing.write_bytes(b"PK")
    assert taken.check(path=nothing)[0] == 2
    assert taken.check("--key", "no key")[0] == 2
    assert taken.check("--checkpoint", str(nothing.with_name("none")))[0] == 2


def test_an_export_overwrites_nothing_and_leaves_nothing_half_written(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "audit.zip"
    path.write_text("mine")
    with pytest.raises(Conflict):
        export(bench, path)
    assert path.read_text() == "mine"

    def refuse(size: int) -> None:
        raise RuntimeError("no record, no export")

    other = tmp_path / "other.zip"
    with bench.connect("worker", autocommit=False) as connection, pytest.raises(RuntimeError):
        export_log(connection, other, announce=refuse)
    assert [each.name for each in tmp_path.iterdir()] == ["audit.zip"]


def test_the_command_records_the_export(taken: Taken, bench: Bench) -> None:
    def run(path: Path) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, "manage.py", "export_audit", str(path), "--json"],
            env=bench.environment,
            cwd=REPOSITORY,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, json.loads(done.stdout.splitlines()[-1])

    status, made = run(taken.path.with_name("second.zip"))
    assert (status, made["size"], made["checkpoints"]) == (0, 610, 4)
    with bench.connect("app") as app:
        ((outcome,),) = app.execute("SELECT outcome FROM audit_auditevent WHERE action = 'audit.export'").fetchall()
    assert outcome == "success"
    status, refused = run(taken.path)
    assert (status, refused["error"]["code"]) == (1, "export_exists")
