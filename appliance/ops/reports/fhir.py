"""A report's events as a FHIR R4 Bundle of AuditEvents (http://hl7.org/fhir/R4/auditevent.html).

id, fullUrl            the event's number
type                   DICOM's audit event types, by the event's type
subtype                our action, in our own system
action, outcome        C, R, U, D, E; 0 done, 4 stopped by the reader, 8 refused or failed, 12 cut off
recorded               as it stands in the evidence
purposeOfEvent         BTG (break the glass) where emergency access was in force
agent                  the person: number, account, display name, network address
source                 this appliance, and its host
entity                 each document, collection and person: number and name; version, page and offsets as details
"""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings

from appliance.audit.models import AuditEntity, AuditEvent, EventType, Outcome
from appliance.ops.audit.names import Names
from appliance.ops.reports.model import Report, leaf_of, written
from appliance.ops.reports.tables import in_words

_DICOM = "http://dicom.nema.org/resources/ontology/DCM"
_TERMS = "http://terminology.hl7.org/CodeSystem"
_OURS = "urn:reading-room"

_ACTIVITY, _USED, _EXPORT, _IMPORT = "110100", "110101", "110106", "110107"
_RECORD, _QUERY, _SIGNED, _EMERGENCY, _SECURITY, _RIGHTS = "110110", "110112", "110114", "110127", "110129", "110136"
_NAMES = {
    _ACTIVITY: "Application Activity",
    _USED: "Audit Log Used",
    _EXPORT: "Export",
    _IMPORT: "Import",
    _RECORD: "Patient Record",
    _QUERY: "Query",
    _SIGNED: "User Authentication",
    _EMERGENCY: "Emergency Override Started",
    _SECURITY: "Security Configuration",
    _RIGHTS: "Security Roles Changed",
}
#: type -> (DICOM's code, FHIR's action).
TYPES: dict[str, tuple[str, str]] = {
    EventType.SIGN_IN: (_SIGNED, "E"),
    EventType.SIGN_OUT: (_SIGNED, "E"),
    EventType.INTENT: (_QUERY, "E"),
    EventType.DISCLOSURE: (_RECORD, "R"),
    EventType.OUTCOME: (_QUERY, "E"),
    EventType.ACCESS: (_RECORD, "R"),
    EventType.UPLOAD: (_IMPORT, "C"),
    EventType.INGEST: (_IMPORT, "C"),
    EventType.DELETE: (_RECORD, "D"),
    EventType.GRANT: (_RIGHTS, "U"),
    EventType.ACCOUNT: (_RIGHTS, "U"),
    EventType.TOKEN: (_SECURITY, "U"),
    EventType.SETTING: (_SECURITY, "U"),
    EventType.REFUSAL: (_SECURITY, "E"),
    EventType.REVIEW: (_USED, "R"),
    EventType.REVEAL: (_USED, "R"),
    EventType.EXPORT: (_EXPORT, "R"),
    EventType.JOB: (_ACTIVITY, "E"),
    EventType.RETENTION: (_RECORD, "D"),
    EventType.SYSTEM: (_ACTIVITY, "E"),
}
OUTCOMES: dict[str, str] = {
    Outcome.SUCCESS: "0",
    Outcome.STOPPED: "4",
    Outcome.REFUSED: "8",
    Outcome.FAILED: "8",
    Outcome.ABORTED: "12",
}


def as_fhir(report: Report) -> bytes:
    """The bundle, of the type "collection". When there were more events a tag of the bundle says so."""
    bundle: dict[str, Any] = {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": written(report.events[-1].recorded_at) if report.events else None,
        "entry": [
            {"fullUrl": f"urn:uuid:{event.uid}", "resource": audit_event(event, report.names)}
            for event in report.events
        ],
    }
    if report.truncated:
        bundle["meta"] = {"tag": [{"system": f"{_OURS}:report", "code": "cut-off", "display": in_words(report)}]}
    kept = {name: value for name, value in bundle.items() if value not in (None, [])}
    return json.dumps(kept, ensure_ascii=False).encode(errors="replace")


def audit_event(event: AuditEvent, names: Names) -> dict[str, Any]:
    """One event as an AuditEvent."""
    evidence = json.loads(bytes(event.canonical))
    code, action = TYPES[event.type]
    if event.action == "break_glass.open":
        code = _EMERGENCY
    entities = list(event.entities.all())
    resource: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": str(event.uid),
        "type": {"system": _DICOM, "code": code, "display": _NAMES[code]},
        "subtype": [{"system": f"{_OURS}:action", "code": event.action, "display": event.get_type_display()}],
        "action": action,
        "recorded": evidence["recorded"],
        "outcome": OUTCOMES[event.outcome],
        "outcomeDesc": event.get_outcome_display(),
        "agent": [_agent(event, evidence["agent"], names)],
        "source": {
            "site": settings.APPLIANCE_NAME,
            "observer": {"display": evidence["observer"]["host"] or settings.APPLIANCE_NAME},
            "type": [{"system": f"{_TERMS}/security-source-type", "code": "4", "display": "Application Server"}],
        },
    }
    if any(entity.kind == "break_glass" for entity in entities):
        glass = {"system": f"{_TERMS}/v3-ActReason", "code": "BTG", "display": "break the glass"}
        resource["purposeOfEvent"] = [{"coding": [glass]}]
    shown = [_entity(entity, names) for entity in entities] + [_proof(event)]
    return resource | {"entity": shown}


def _agent(event: AuditEvent, agent: dict[str, Any], names: Names) -> dict[str, Any]:
    found: dict[str, Any] = {"requestor": True, "name": names.actor(event)}
    if agent["user"]:
        found["who"] = {"identifier": {"system": f"{_OURS}:user", "value": agent["user"]}}
    if agent["name"]:
        found["altId"] = agent["name"]
    if agent["address"]:
        found["network"] = {"address": agent["address"], "type": "2"}
    return found


def _entity(entity: AuditEntity, names: Names) -> dict[str, Any]:
    is_person = entity.kind == "user"
    kind, called = ("1", "Person") if is_person else ("2", "System Object")
    found: dict[str, Any] = {
        "what": {"identifier": {"system": f"{_OURS}:{entity.kind}", "value": entity.object_id}},
        "type": {"system": f"{_TERMS}/audit-entity-type", "code": kind, "display": called},
        "name": names.of(entity),
    }
    places = [("version", entity.version), ("page", entity.page), ("start", entity.start), ("end", entity.end)]
    details = [{"type": name, "valueString": str(value)} for name, value in places if value is not None]
    return found | ({"detail": details} if details else {})


def _proof(event: AuditEvent) -> dict[str, Any]:
    """The event's own evidence: its fingerprint, and its place in the sealed log."""
    details = [{"type": "leaf_hash", "valueString": bytes(event.leaf_hash).hex()}]
    if (leaf := leaf_of(event)) is not None:
        details.append({"type": "leaf", "valueString": str(leaf)})
    return {
        "what": {"identifier": {"system": f"{_OURS}:event", "value": str(event.uid)}},
        "type": {"system": f"{_TERMS}/audit-entity-type", "code": "2", "display": "System Object"},
        "role": {"system": f"{_TERMS}/object-role", "code": "13", "display": "Security Resource"},
        "detail": details,
    }
