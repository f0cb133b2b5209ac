"""Signed notes and checkpoints: what tools of transparency logs read, and what is none."""

from __future__ import annotations

import base64
import hashlib

import pytest

from appliance.audit.notes import Checkpoint, Note, NoteError, PrivateKey, PublicKey

# From the documentation of golang.org/x/mod/sumdb/note, whose format C2SP's signed-note writes down.
SPEC_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SPEC_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


@pytest.fixture
def key() -> PrivateKey:
    return PrivateKey.make("reading-room/test")


def test_a_note_that_another_program_signed_is_verified() -> None:
    note = Note.parse(SPEC_NOTE)
    assert note.signed_by(PublicKey.parse(SPEC_KEY))
    assert str(note) == SPEC_NOTE
    assert not Note.parse(SPEC_NOTE.replace("answer", "Answer")).signed_by(PublicKey.parse(SPEC_KEY))


def test_a_checkpoint_is_signed_read_and_verified(key: PrivateKey) -> None:
    made = Checkpoint(key.name, 1024, hashlib.sha256(b"x").digest(), ("time 2026-11-20T22:00:00Z",))
    note = Note.parse(made.signed(key))
    assert Checkpoint.parse(note.text) == made
    assert note.signed_by(PublicKey.parse(str(key.public)))
    assert not note.signed_by(PrivateKey.make(key.name).public)
    assert not note.signed_by(PublicKey("reading-room/other", key.public.key))
    lines = made.signed(key).splitlines()
    assert lines[1:3] == ["1024", base64.b64encode(made.root).decode()]
    assert lines[-1].startswith("— reading-room/test ")


def test_two_keys_sign_the_same_checkpoint(key: PrivateKey) -> None:
    other = PrivateKey.make("officer")
    note = Note.parse(Checkpoint(key.name, 1, b"\0" * 32).signed(key, other))
    assert note.signed_by(key.public) and note.signed_by(other.public)


def test_keys_are_read_back_and_kept_secret(key: PrivateKey) -> None:
    assert PrivateKey.parse(f"{key.secret_text()}\n") == key
    assert base64.b64encode(key.seed).decode()[:16] not in repr(key)
    assert key.secret_text() not in repr(key)


@pytest.mark.parametrize(
    "text",
    ["", "a+b", SPEC_KEY.replace("c74f20a3", "c74f20a4"), SPEC_KEY[:-4], SPEC_KEY.replace("+AR", "+BR"), "a b+00+AA=="],
)
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        PublicKey.parse(text)


def test_what_is_no_private_key_is_refused_without_repeating_it(key: PrivateKey) -> None:
    whole = key.secret_text()
    for text in ("", whole[:-5], whole.replace("KEY", "KEI"), whole.replace(key.name, "reading-room/other")):
        with pytest.raises(NoteError) as refused:
            PrivateKey.parse(text)
        assert not text or text not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "only text\n",
        "text\n\nno dash\n",
        "text\n\n— name\n",
        "text\n\n— name AAAA\n",
        SPEC_NOTE.rstrip("\n"),
        "te\rxt\n\n— name AAAAAAAAAA==\n",
    ],
)
def test_what_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        Note.parse(text)


ROOT = base64.b64encode(b"\0" * 32).decode()


@pytest.mark.parametrize(
    "text",
    [
        "origin\n1\n",
        f"origin\n01\n{ROOT}\n",
        f"origin\n-1\n{ROOT}\n",
        f"origin\n\n{ROOT}\n",
        "origin\n1\nAAAA\n",
        f"origin\n1\n{ROOT}",
        f"origin\n١\n{ROOT}\n",
        f"origin\n1\n{ROOT}\n\nmore\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse(text)
