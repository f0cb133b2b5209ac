"""Sealing: every event once, whatever the order of commits; nothing on top of damage; nobody else may."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from seal_bench import Bench, Connection, append

from appliance.audit import keys, rotation, sealer, sealing
from appliance.audit.notes import Checkpoint, Note, PrivateKey
from appliance.audit.sealing import Head, SealBroken, last_head, load_tree, seal, waiting
from appliance.audit.tree import GrowingTree, root_of
from appliance.audit.verifying import verify_database


@pytest.fixture
def connection(bench: Bench) -> Iterator[Connection]:
    with bench.connect("sealer") as connection:
        yield connection


def sealed_ids(bench: Bench) -> list[int]:
    with bench.connect("app") as app:
        return [row[0] for row in app.execute("SELECT event_id FROM audit_leaf ORDER BY index")]


def test_events_are_sealed_under_a_signed_root(bench: Bench, connection: Connection, key: PrivateKey) -> None:
    with bench.connect("app") as app:
        ids = [append(app) for _ in range(5)]
        tree = GrowingTree()
        head = seal(connection, key, tree, Head())
        assert sealed_ids(bench) == ids
        assert seal(connection, key, tree, head) == head  # nothing more to do, and no second head
        hashes = [bytes(row[0]) for row in app.execute("SELECT leaf_hash FROM audit_auditevent ORDER BY id")]
        ((text,),) = app.execute("SELECT note FROM audit_checkpoint").fetchall()
    note = Note.parse(text)
    assert note.signed_by(key.public)
    read = Checkpoint.parse(note.text)
    assert (read.origin, read.size, read.root) == (key.name, 5, root_of(hashes)) and head.root == read.root
    assert read.extra[0].startswith("time 2")


def test_a_lower_id_that_commits_later_is_sealed_later(bench: Bench, connection: Connection, key: PrivateKey) -> None:
    tree = GrowingTree()
    with bench.connect("app") as first, bench.connect("app", autocommit=False) as slow:
        low = append(slow)
        high = append(first)
        head = seal(connection, key, tree, Head())
        assert sealed_ids(bench) == [high] and low < high
        later = append(first)
        head = seal(connection, key, tree, head)
        assert seal(connection, key, tree, head) == head
        slow.commit()
        assert waiting(connection, head).num_events == 1
        head = seal(connection, key, tree, head)
        assert sealed_ids(bench) == [high, later, low]
        with bench.connect("app", autocommit=False) as undone:
            append(undone)
            undone.rollback()
        assert seal(connection, key, tree, head) == head


def test_many_writers_at_once_lose_nothing(bench: Bench, connection: Connection, key: PrivateKey) -> None:
    done, tree, head = threading.Event(), GrowingTree(), Head()
    written: list[int] = []

    def write(number: int) -> None:
        with bench.connect("app", autocommit=False) as app:
            for turn in range(120):
                mine = [append(app) for _ in range(1 + (number + turn) % 3)]
                if turn % 7 == number % 7:
                    app.rollback()
                else:
                    app.commit()
                    written.extend(mine)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()

    def wait() -> None:
        for writer in writers:
            writer.join()
        done.set()

    threading.Thread(target=wait).start()
    while not done.is_set():
        head = seal(connection, key, tree, head)
    while (after := seal(connection, key, tree, head)) != head:
        head = after
    assert sorted(sealed_ids(bench)) == sorted(written)
    assert load_tree(connection, head).root() == head.root


def test_batches_and_tiles_give_the_same_tree_again(
    bench: Bench, connection: Connection, key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "BATCH", 300)
    with bench.connect("app", autocommit=False) as app:
        for _ in range(1_000):
            append(app)
        app.commit()
        for _ in range(47):
            append(app)
            app.commit()
    tree, head, heads = GrowingTree(), Head(), []
    while (after := seal(connection, key, tree, head)) != head:
        head = after
        heads.append(head.size)
        again = load_tree(connection, last_head(connection))
        assert (again.size, again.edge) == (tree.size, tree.edge)
    assert heads == [300, 600, 900, 1_047] and len(set(sealed_ids(bench))) == 1_047
    assert connection.execute("SELECT count(*) FROM audit_tile").fetchone() == (4,)


def test_in_another_cluster_the_events_without_a_seal_are_found(
    bench: Bench, connection: Connection, key: PrivateKey
) -> None:
    with bench.connect("app") as app:
        ids = [append(app) for _ in range(3)]
        tree = GrowingTree()
        head = seal(connection, key, tree, Head())
        more = append(app)
    restored = Head(head.size, head.root, head.horizon + 1_000_000, "the cluster of the backup")
    assert waiting(connection, restored).num_events == 1
    head = seal(connection, key, tree, restored)
    assert sealed_ids(bench) == [*ids, more] and head.horizon < restored.horizon


def test_nothing_is_signed_on_top_of_damage(bench: Bench, connection: Connection, key: PrivateKey) -> None:
    with bench.connect("app") as app, bench.connect("superuser") as superuser:
        for _ in range(3):
            append(app)
        seal(connection, key, GrowingTree(), Head())
        superuser.execute("SET session_replication_role = replica")
        superuser.execute(
            "UPDATE audit_auditevent SET leaf_hash = sha256('other') WHERE id = (SELECT min(id) FROM audit_auditevent)"
        )
    with pytest.raises(SealBroken, match="signed at 3"):
        load_tree(connection, last_head(connection))


@pytest.mark.parametrize("role", ["app", "worker", "owner", "sealer"])
@pytest.mark.parametrize("table", ["audit_leaf", "audit_tile", "audit_checkpoint", "audit_sealkey"])
def test_what_is_sealed_is_not_changed_by_any_role(bench: Bench, key: PrivateKey, role: str, table: str) -> None:
    with bench.connect("app") as app, bench.connect("sealer") as connection:
        for _ in range(300):
            append(app)
        seal(connection, key, GrowingTree(), Head())
        keys.rotate(connection, key, PrivateKey.make(key.name), 0)
    with bench.connect(role) as other:
        for act in (f"UPDATE {table} SET level = 1", f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
            statement = act if table == "audit_tile" else act.replace("level = 1", next(iter(_column(table))))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                other.execute(statement)
        if role in ("app", "worker"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                other.execute(f"INSERT INTO {table} SELECT * FROM {table}")


def _column(table: str) -> list[str]:
    names = {"audit_leaf": "index", "audit_checkpoint": "size", "audit_sealkey": "name"}
    return [f"{names[table]} = {names[table]}"]


def test_the_sealer_learns_nothing_of_what_happened(bench: Bench, connection: Connection) -> None:
    for query in (
        "SELECT canonical FROM audit_auditevent",
        "SELECT actor_name FROM audit_auditevent",
        "SELECT * FROM audit_auditentity",
        "SELECT * FROM documents_document",
        "SELECT * FROM audit_content",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(query)


def test_a_new_key_is_named_by_the_old_one_and_no_other_is_taken(connection: Connection, key: PrivateKey) -> None:
    new, stranger = PrivateKey.make(key.name), PrivateKey.make(key.name)
    keys.announce(connection, key, 0)
    keys.announce(connection, key, 0)  # a second start
    with pytest.raises(keys.WrongKey):
        keys.announce(connection, stranger, 0)
    keys.rotate(connection, key, new, 12)
    keys.announce(connection, new, 12)
    with pytest.raises(keys.WrongKey):
        keys.announce(connection, key, 12)
    statements = [row[0] for row in connection.execute("SELECT statement FROM audit_sealkey ORDER BY id")]
    assert keys.followed(key.public, statements) == [(key.public, 0), (new.public, 12)]
    forged = [statements[0], keys.statement(key.name, stranger.public, 12, stranger)]
    with pytest.raises(Exception, match="not signed by the key before it"):
        keys.followed(key.public, forged)
    with pytest.raises(Exception, match="first key"):
        keys.followed(stranger.public, statements)


def test_the_sealer_seals_by_itself_and_again_after_a_lost_connection(bench: Bench, key: PrivateKey) -> None:
    stopped = threading.Event()
    url = bench.stack.environment["APPLIANCE_DATABASE_SEALER_URL"]
    running = threading.Thread(target=sealer.run, args=(url, sealer.Signing(key), stopped))
    running.start()
    try:
        with bench.connect("app") as app, bench.connect("superuser") as superuser:
            for number in (1, 2):
                append(app)
                while app.execute("SELECT coalesce(max(size), 0) FROM audit_checkpoint").fetchone() != (number,):
                    assert running.is_alive()
                superuser.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sealer'"
                )
    finally:
        stopped.set()
        running.join(timeout=20)
    assert not running.is_alive()


def test_a_new_key_is_made_while_sealing_goes_on_and_the_log_verifies_throughout(
    bench: Bench, key: PrivateKey, tmp_path: Path
) -> None:
    file = tmp_path / "seal_key"
    file.write_text(key.secret_text())
    signing, stopped = sealer.Signing(key, file), threading.Event()
    url = bench.stack.environment["APPLIANCE_DATABASE_SEALER_URL"]
    running = threading.Thread(target=sealer.run, args=(url, signing, stopped))
    running.start()
    try:
        with bench.connect("app") as app:

            def sealed(number: int) -> None:
                append(app)
                while app.execute("SELECT coalesce(max(size), 0) FROM audit_checkpoint").fetchone() != (number,):
                    assert running.is_alive()

            sealed(1)
            signing.rotate.set()
            while signing.rotate.is_set() or app.execute("SELECT count(*) FROM audit_sealkey").fetchone() != (2,):
                assert running.is_alive()
            sealed(2)
            notes = [Note.parse(row[0]) for row in app.execute("SELECT note FROM audit_checkpoint ORDER BY size")]
    finally:
        stopped.set()
        running.join(timeout=20)
    new = PrivateKey.parse(file.read_text())
    assert new == signing.key != key and file.stat().st_mode & 0o077 == 0
    assert notes[0].signed_by(key.public) and notes[1].signed_by(new.public) and not notes[1].signed_by(key.public)
    with bench.connect("app") as app:
        report = verify_database(app, key=str(key.public))
    assert report.sound and report.size == 2


@pytest.mark.parametrize("named", [True, False])
def test_a_rotation_that_was_cut_off_is_ended_or_begun_again(
    connection: Connection, key: PrivateKey, tmp_path: Path, named: bool
) -> None:
    file, new = tmp_path / "seal_key", PrivateKey.make(key.name)
    file.write_text(key.secret_text())
    file.with_name("seal_key.new").write_text(new.secret_text())
    keys.announce(connection, key, 0)
    if named:
        keys.rotate(connection, key, new, 0)
    assert rotation.settle(connection, key, file) == (new if named else key)
    assert PrivateKey.parse(file.read_text()) == (new if named else key)
    if not named:
        assert rotation.rotate(connection, key, file, 0) == new == PrivateKey.parse(file.read_text())
    assert keys.newest(connection) == str(new.public)
