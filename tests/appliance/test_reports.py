"""Reports: who was shown what, all about one person, who could and who did; and files that can be checked."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from access_forms import new_person, send, signed_in, words
from appliance_desk import Desk, Room, added, as_owner, evidence_since, last_event_id, search, until
from django.core.management import call_command
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pypdf import PdfReader

from appliance.accounts.models import Role, User
from appliance.audit.models import AuditEvent, Leaf
from appliance.audit.notes import Checkpoint, Note
from appliance.audit.record import Actor
from appliance.documents.actions import do_grant
from appliance.documents.models import BreakGlass, Collection
from appliance.lib.principal import acting_as
from appliance.ops.commands import COMMAND
from appliance.ops.reports import making
from appliance.ops.reports.asking import period_between, subject_named
from appliance.ops.reports.disclosures import ranges
from appliance.ops.reports.model import Kind, Period
from appliance.ops.reports.tables import defused

#: A title that a spreadsheet would run, were it a cell as it is.
TITLE = "=HYPERLINK of the letter"
WORDS = "The heron stands in the reeds of the moat until the bells of the priory ring for vespers."


@dataclass
class File:
    """A collection of mary's with a letter that one reader was shown, and an officer who reports on it."""

    desk: Desk
    collection: Collection
    document: str
    reader: str
    program: httpx.Client
    officer: str
    browser: httpx.Client

    def pk(self, name: str) -> uuid.UUID:
        return User.objects.get(username=name).pk

    def make(self, kind: str, of: str, value: str, form: str, **period: str) -> Packed:
        made = send(self.browser, f"/audit/reports/{kind}", of=of, value=value, format=form, **period)
        assert made.status_code == 200, words(made)
        return Packed(made)


class Packed:
    """A report's file, opened. Its digest is right, or this fails."""

    def __init__(self, made: httpx.Response) -> None:
        self.response = made
        self._archive = zipfile.ZipFile(io.BytesIO(made.content))
        self.evidence: dict[str, Any] = json.loads(self._archive.read("evidence.json"))
        self.report = self._archive.read(self.evidence["report"])
        self.checkpoint = self._archive.read("checkpoint.txt").decode()
        assert hashlib.sha256(self.report).hexdigest() == self.evidence["sha256"]
        assert self.evidence["report"] in self._archive.read("README.txt").decode()

    @property
    def table(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.report.decode("utf-8-sig"))))

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.report.decode().splitlines()]


@pytest.fixture(scope="module")
def file(desk: Desk, mary: httpx.Client) -> Iterator[File]:
    name = f"Priory {uuid.uuid4()}"
    made = mary.post("/api/v1/collections", json={"name": name})
    collection = Collection.objects.get(pk=made.json()["id"])
    reader, officer = new_person(desk, Role.STAFF), new_person(desk, Role.COMPLIANCE_OFFICER)
    User.objects.filter(username=reader).update(display_name=f"Ward Sister {reader}", title="Sister")
    do_grant(collection, user=User.objects.get(username=reader), acting_user=None, actor=COMMAND)
    document = added(mary, str(collection.pk), f"{TITLE}.txt", WORDS.encode())
    program = desk.client(reader)
    with ExitStack() as stack:
        page = stack.enter_context(signed_in(desk, reader))
        assert [p["document"] for p in search(program, "heron of the priory", str(collection.pk))["results"]] == [
            document
        ]
        assert page.get(f"/documents/{document}/v/1").status_code == 200
        assert page.get(f"/documents/{document}/v/1/download").status_code == 200
        browser = stack.enter_context(signed_in(desk, officer))
        yield File(desk, collection, document, reader, program, officer, browser)


def sealed(event: str) -> int:
    """The place of an event in the log, once the sealer has come by."""
    return until(lambda: Leaf.objects.filter(event__uid=event).values_list("index", flat=True).first() or 0)


def test_an_accounting_of_disclosures_has_what_the_rule_asks_for(file: File) -> None:
    rows = file.make("disclosures", "document", file.document, "jsonl").lines
    by_reader = [row for row in rows if row["person"].startswith("Ward Sister")]
    assert [row["how"] for row in by_reader] == ["Passages found by a search", "Page opened", "File downloaded"]
    for row in by_reader:
        assert row["date"][:10] == f"{timezone.localdate()}"
        assert (row["title"], row["document"], row["version"]) == ("Sister", TITLE, 1)
        assert row["document_id"] == file.document and row["purpose"] and row["reference"] == ""
    assert (by_reader[0]["passages"], by_reader[0]["pages"]) == (1, "1")
    assert WORDS not in json.dumps(rows)


def test_one_report_by_each_way_to_name_it(file: File) -> None:
    ways = [
        ("document", file.document),
        ("document", f"https://reading.room/documents/{file.document}/v/1"),
        ("collection", file.collection.name),
        ("collection", str(file.collection.pk)),
        ("person", file.reader),
        ("person", str(file.pk(file.reader))),
        ("person", f"ward sister {file.reader}"),
    ]
    found = [
        [row["event"] for row in file.make("disclosures", of, value, "jsonl").lines if row["title"] == "Sister"]
        for of, value in ways
    ]
    assert len(found[0]) >= 3 and found == [found[0]] * len(ways)


def test_emergency_access_is_accounted_for_by_its_reference(file: File) -> None:
    reference, reader = f"P-{uuid.uuid4().hex[:8]}", User.objects.get(pk=file.pk(file.reader))
    broken = BreakGlass.objects.create(
        user=reader,
        collection=file.collection,
        reason="Unconscious, no record at hand",
        reference=reference,
        ends_at=timezone.now() + timedelta(hours=1),
    )
    grant = do_grant(file.collection, user=reader, acting_user=None, actor=COMMAND)
    type(grant).objects.filter(pk=grant.pk).update(break_glass=broken, ends_at=broken.ends_at)
    search(file.program, "heron of the priory", str(file.collection.pk))
    type(grant).objects.filter(pk=grant.pk).delete()
    (row,) = file.make("disclosures", "reference", reference.lower(), "jsonl").lines
    assert row["document"] == TITLE and row["reference"] == reference
    assert row["purpose"] == "Emergency access: Unconscious, no record at hand"


def test_all_that_concerns_one_person(file: File) -> None:
    rows = file.make("subject", "person", file.reader, "jsonl").lines
    acted = [row["act"] for row in rows if row["part"] == "Acted"]
    assert acted.index("search.ask") < acted.index("search.passages") < acted.index("document.download")
    assert "session.start" in acted
    concerned = {row["act"] for row in rows if row["part"] == "Concerned"}
    assert {"user.create", "grant.add"} <= concerned
    assert [row["date"] for row in rows] == sorted(row["date"] for row in rows)


def test_who_could_and_who_did(file: File, desk: Desk) -> None:
    idle, shut = new_person(desk, Role.STAFF), new_person(desk, Role.STAFF)
    for name, effect in ((idle, "allow"), (shut, "deny")):
        user = User.objects.get(username=name)
        do_grant(file.collection, user=user, effect=effect, acting_user=None, actor=COMMAND)
    rows = file.make("access", "collection", file.collection.name, "jsonl").lines
    by_account = {row["account"]: row for row in rows}
    did = by_account[file.reader]
    assert did["may"] == "can read" and did["rules"].startswith("themselves: can read from")
    assert did["searches"] >= 1 and did["passages"] >= 1 and did["opened"] >= 1 and did["downloads"] >= 1
    assert did["last"]
    assert (by_account[idle]["may"], by_account[idle]["passages"], by_account[idle]["last"]) == ("can read", 0, "")
    assert by_account[shut]["may"] == "nothing, kept out"
    assert by_account["mary"]["may"] == "can change access"


def test_a_period_holds_its_last_day(file: File) -> None:
    today = timezone.localdate()
    whole = file.make("disclosures", "document", file.document, "jsonl", **{"from": f"{today}", "to": f"{today}"})
    before = file.make("disclosures", "document", file.document, "jsonl", to=f"{today - timedelta(days=1)}")
    assert len(whole.lines) >= 3 and before.lines == []


def test_a_file_can_be_checked_with_the_log(file: File) -> None:
    row = file.make("disclosures", "document", file.document, "jsonl").lines[0]
    place = sealed(row["event"])
    before = last_event_id()
    packed = file.make("disclosures", "document", file.document, "csv")
    evidence = packed.evidence
    assert place in evidence["leaves"] and row["event"] in evidence["events"]
    assert Checkpoint.parse(Note.parse(packed.checkpoint).text).size == evidence["checkpoint_size"] > place
    (event,) = evidence_since(before, action="report.make")
    assert (event["id"], event["type"]) == (evidence["recorded_as"], "export")
    assert event["agent"]["name"] == evidence["made_by"] == file.officer
    assert event["entities"] == [{"kind": "document", "id": file.document}]
    detail = event["detail"]
    assert (detail["sha256"], detail["format"], detail["report"]) == (evidence["sha256"], "csv", "disclosures")
    assert TITLE not in json.dumps(event)


def test_a_table_runs_nothing(file: File) -> None:
    packed = file.make("disclosures", "document", file.document, "csv")
    assert packed.response.headers["Content-Type"] == "application/zip"
    assert {row["Document"] for row in packed.table} == {f"'{TITLE}"}


@given(st.one_of(st.text(), st.sampled_from("=+-@\t\r\n＝＋－＠").flatmap(lambda c: st.text().map(lambda t: c + t))))
def test_no_cell_begins_like_a_formula(text: str) -> None:
    cell = defused(text)
    assert not cell.lstrip(" \u00a0").startswith(tuple("=+-@\t\r\n＝＋－＠"))
    assert cell == text or cell == f"'{text}"
    assert text == "" or (cell == text) == (text.lstrip(" \u00a0")[:1] not in tuple("=+-@\t\r\n＝＋－＠"))


@given(st.integers())
def test_a_number_stays_a_number(number: int) -> None:
    assert int(defused(number)) == number


@given(st.sets(st.integers(1, 60)))
def test_pages_are_written_as_ranges(pages: set[int]) -> None:
    read = set()
    for part in filter(None, ranges(pages).split(", ")):
        first, _, last = part.partition("-")
        read |= set(range(int(first), int(last or first) + 1))
    assert read == pages


@pytest.mark.parametrize("form", ["csv", "jsonl", "fhir", "pdf"])
def test_what_was_cut_off_says_so(file: File, form: str) -> None:
    officer = file.pk(file.officer)
    with acting_as(officer):
        subject = subject_named(Kind.DISCLOSURES, "document", file.document)
        made = making.do_make(Kind.DISCLOSURES, subject, Period(), form, actor=Actor(officer, "x"), limit=2)
    report = made.report
    assert report.truncated and len(report.events) == 2
    content = zipfile.ZipFile(io.BytesIO(made.content))
    evidence = json.loads(content.read("evidence.json"))
    assert evidence["cut_off"] is True and len(evidence["events"]) == 2
    written = content.read(evidence["report"])
    said = "".join(page.extract_text() for page in PdfReader(io.BytesIO(written)).pages) if form == "pdf" else None
    assert "CUT OFF: only the first 2 events" in (said.replace("\n", " ") if said else written.decode())


def test_on_paper(file: File) -> None:
    for kind, of, value in (
        ("disclosures", "document", file.document),
        ("subject", "person", file.reader),
        ("access", "collection", file.collection.name),
    ):
        packed = file.make(kind, of, value, "pdf")
        text = " ".join("".join(page.extract_text() for page in PdfReader(io.BytesIO(packed.report)).pages).split())
        assert "Page 1" in text and "Made from the sealed log" in text
        assert "".join(f"Ward Sister {file.reader}".split()) in "".join(text.split())


class _Element(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Coding(_Element):
    system: str
    code: str
    display: str


class _Concept(_Element):
    coding: list[_Coding]


class _Identifier(_Element):
    system: str
    value: str


class _Reference(_Element):
    identifier: _Identifier | None = None
    display: str | None = None


class _Network(_Element):
    address: str
    type: Literal["1", "2", "3", "4", "5"]


class _Agent(_Element):
    requestor: bool
    name: str
    who: _Reference | None = None
    altId: str | None = None
    network: _Network | None = None


class _Source(_Element):
    site: str
    observer: _Reference
    type: list[_Coding]


class _Detail(_Element):
    type: str
    valueString: str


class _Entity(_Element):
    what: _Reference
    type: _Coding
    role: _Coding | None = None
    name: str | None = None
    detail: list[_Detail] | None = None


class FhirAuditEvent(_Element):
    """AuditEvent of FHIR R4, as far as the appliance fills it: nothing that R4 does not have."""

    resourceType: Literal["AuditEvent"]
    id: str = Field(pattern=r"^[A-Za-z0-9\-.]{1,64}$")
    type: _Coding
    subtype: list[_Coding] = Field(min_length=1)
    action: Literal["C", "R", "U", "D", "E"]
    recorded: AwareDatetime
    outcome: Literal["0", "4", "8", "12"]
    outcomeDesc: str
    purposeOfEvent: list[_Concept] | None = None
    agent: list[_Agent] = Field(min_length=1)
    source: _Source
    entity: list[_Entity] = Field(min_length=1)


class _Entry(_Element):
    fullUrl: str
    resource: FhirAuditEvent


class FhirBundle(_Element):
    """A Bundle that holds nothing but events."""

    resourceType: Literal["Bundle"]
    type: Literal["collection"]
    timestamp: AwareDatetime | None = None
    entry: list[_Entry] = []


def test_a_fhir_bundle_of_audit_events(file: File) -> None:
    packed = file.make("subject", "person", file.reader, "fhir")
    bundle = FhirBundle.model_validate_json(packed.report)
    assert [entry.resource.id for entry in bundle.entry] == packed.evidence["events"]
    by_act = {entry.resource.subtype[0].code: entry.resource for entry in bundle.entry}
    shown = by_act["search.passages"]
    assert (shown.action, shown.outcome, shown.type.code) == ("R", "0", "110110")
    (agent,) = shown.agent
    assert agent.altId == file.reader and agent.who and agent.who.identifier
    assert agent.who.identifier.value == str(file.pk(file.reader))
    documents = [e for e in shown.entity if e.what.identifier and e.what.identifier.system.endswith(":document")]
    assert [e.name for e in documents] == [TITLE]
    assert {d.type for e in documents for d in e.detail or []} == {"version", "page", "start", "end"}
    event = AuditEvent.objects.get(uid=shown.id)
    (proof,) = [e for e in shown.entity if e.role]
    assert {"leaf_hash": bytes(event.leaf_hash).hex()}.items() <= {
        d.type: d.valueString for d in proof.detail or []
    }.items()
    assert by_act["session.start"].type.code == "110114"


def test_every_type_and_outcome_has_its_place_in_fhir() -> None:
    from appliance.audit.models import EventType, Outcome
    from appliance.ops.reports.fhir import OUTCOMES, TYPES

    assert set(TYPES) == set(EventType) and set(OUTCOMES) == set(Outcome)


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("nonsense", {"of": "person", "value": "alice", "format": "csv"}),
        ("disclosures", {"of": "person", "value": "nobody of this name", "format": "csv"}),
        ("disclosures", {"of": "person", "value": " ", "format": "csv"}),
        ("disclosures", {"of": "moon", "value": "x", "format": "csv"}),
        ("disclosures", {"of": "document", "value": "The letter", "format": "csv"}),
        ("disclosures", {"of": "collection", "value": "No such", "format": "csv"}),
        ("disclosures", {"of": "reference", "value": "No such", "format": "csv"}),
        ("disclosures", {"of": "person", "value": "alice", "format": "docx"}),
        ("disclosures", {"of": "person", "value": "alice", "format": "csv", "from": "yesterday"}),
        ("disclosures", {"of": "person", "value": "alice", "format": "csv", "from": "2026-02-02", "to": "2026-01-01"}),
        ("subject", {"of": "collection", "value": "Contracts", "format": "csv"}),
        ("access", {"of": "collection", "value": "Contracts", "format": "fhir"}),
    ],
)
def test_what_means_nothing_is_refused_in_words(file: File, kind: str, form: dict[str, str]) -> None:
    before = last_event_id()
    refused = send(file.browser, f"/audit/reports/{kind}", **form)
    assert refused.status_code == 422 and "report_refused" in refused.text
    assert evidence_since(before, action="report.make") == []


def test_the_page_of_disclosures_counts_by_person(file: File) -> None:
    before = last_event_id()
    page = file.browser.get("/audit/disclosures", params={"of": "document", "value": file.document})
    said = words(page)
    assert f"Ward Sister {file.reader}" in said and "Sister" in said and WORDS not in page.text
    (event,) = [e for e in evidence_since(before, action="audit.disclosures") if e["agent"]["name"] == file.officer]
    assert event["entities"] == [{"kind": "document", "id": file.document}]
    nothing = file.browser.get("/audit/disclosures", params={"of": "document", "value": str(uuid.uuid4())})
    assert "Nobody was shown anything of it" in words(nothing)
    wrong = file.browser.get("/audit/disclosures", params={"of": "document", "value": "?"})
    assert wrong.status_code == 422 and "report_refused" in wrong.text


def test_reports_are_for_officers(file: File, desk: Desk) -> None:
    for role in (Role.STAFF, Role.ADMINISTRATOR, Role.CONTENT_APPROVER):
        with signed_in(desk, new_person(desk, role)) as client:
            for address in ("/audit/reports", "/audit/disclosures?of=person&value=alice"):
                assert client.get(address).status_code == 404
            made = send(client, "/audit/reports/disclosures", of="person", value="alice", format="csv")
            assert made.status_code == 404


def test_without_a_record_no_report_leaves(file: File, django_room: Room) -> None:
    with as_owner(django_room) as owner:
        owner.execute("REVOKE INSERT ON audit_auditevent FROM reading_room_app")
        try:
            refused = send(file.browser, "/audit/reports/disclosures", of="document", value=file.document, format="csv")
        finally:
            owner.execute("GRANT INSERT ON audit_auditevent TO reading_room_app")
    assert refused.status_code == 503 and "audit_unavailable" in refused.text and TITLE not in refused.text


def test_the_command_makes_the_same_file(file: File, tmp_path: Path) -> None:
    out, told = tmp_path / "report.zip", io.StringIO()
    arguments = ("report", "disclosures", file.document, "--of", "document", "--format", "jsonl", "--out", str(out))
    call_command(*arguments, "--as", file.officer, "--json", stdout=told)
    answer = json.loads(told.getvalue())
    with zipfile.ZipFile(out) as archive:
        report = archive.read("report.jsonl")
    assert hashlib.sha256(report).hexdigest() == answer["sha256"]
    assert [json.loads(line)["document"] for line in report.splitlines()] == [TITLE] * answer["rows"]
    assert out.stat().st_mode & 0o777 == 0o600
    for more, code in ((("--as", file.officer), "file_exists"), (("--as", file.reader), "officer_not_found")):
        refused = io.StringIO()
        with pytest.raises(SystemExit) as ended:
            call_command(*arguments, *more, "--json", stdout=refused)
        assert ended.value.code == 1 and json.loads(refused.getvalue())["error"]["code"] == code


def test_days_are_those_of_the_site() -> None:
    period = period_between("2026-11-01", "2026-11-20")
    assert period.start is not None and period.end is not None
    assert timezone.localtime(period.start).isoformat().startswith("2026-11-01T00:00")
    assert timezone.localtime(period.end).isoformat().startswith("2026-11-21T00:00")
