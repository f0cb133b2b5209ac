"""The queue of alerts, and acknowledging them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from appliance.accounts.models import User
from appliance.accounts.sessions import actor_of, current_user
from appliance.audit import alerts as acts
from appliance.audit import review
from appliance.audit.models import Alert, AlertRule, AuditEvent
from appliance.audit.record import asked_for
from appliance.documents.models import Wall
from appliance.lib.errors import ApplianceError, BadRequest, NotFound
from appliance.ops.audit.names import Names, names_of, officers_only
from appliance.ops.audit.seal import seal_of

_SAID = {"one": "The alert is acknowledged.", "none": "Nothing was open any more."}


@dataclass(frozen=True, slots=True)
class Row:
    """An alert as the queue shows it. `event` is the address of its first event."""

    alert: Alert
    who: str
    about: str
    event: str
    by: str
    needs_note: bool
    more: int


@require_GET
@officers_only
def alerts(request: HttpRequest) -> HttpResponse:
    return _queue(request)


def _queue(request: HttpRequest, **more: Any) -> HttpResponse:
    error: ApplianceError | None = more.get("error")
    state, rule = request.GET.get("state", "open"), request.GET.get("rule", "")
    found, person = acts.AlertPage([], None), None
    try:
        person, before = _uuid(request, "person"), _uuid(request, "before")
        if state not in ("open", "acknowledged"):
            raise BadRequest("Alerts are open or acknowledged.", hint="Choose one.", code="filter_refused")
        found = acts.queue(is_open=state == "open", rule=rule, person=person, before=before)
    except BadRequest as refused:
        error = error or refused
    review.record_look({"state": state, "rule": rule}, actor=actor_of(request), action="audit.alerts")
    kept = {"state": state, "rule": rule, "person": str(person or "")}
    context = {
        "rows": _rows(found.alerts, current_user(request).pk),
        "next": urlencode(kept | {"before": str(found.next_before)}) if found.next_before else "",
        "state": state,
        "rule": rule,
        "person": User.objects.filter(pk=person).first() if person else None,
        "rules": AlertRule.choices,
        "num_open": acts.num_open(),
        "seal": seal_of(),
        "said": _said(request.GET.get("said", "")),
        "error": error,
        "tab": "alerts",
    }
    return render(request, "audit/alerts.html", context | more, status=error.http_status if error else 200)


def _said(what: str) -> str:
    if what.isascii() and what.isdigit():
        return f"{int(what[:6]):,} alerts are acknowledged."
    return _SAID.get(what, "")


def _uuid(request: HttpRequest, name: str) -> uuid.UUID | None:
    given = request.GET.get(name, "").strip()
    if not given:
        return None
    try:
        return uuid.UUID(given)
    except ValueError:
        raise BadRequest(f"“{given[:40]}” is no number of a {name}.", code="filter_refused") from None


def _rows(found: list[Alert], officer: uuid.UUID) -> list[Row]:
    people = [("user", str(pk)) for alert in found for pk in (alert.actor_id, alert.acknowledged_by) if pk]
    names = names_of(people)
    firsts = {alert.first_event for alert in found if alert.first_event}
    uids = dict(AuditEvent.objects.filter(pk__in=firsts).values_list("pk", "uid"))
    behind = asked_for("wall", {alert.subject_id for alert in found if alert.subject_kind == "wall"})
    walled = Wall.objects.filter(pk__in=[entity.object_id for entity in behind])
    walls = {str(pk): name for pk, name in walled.values_list("pk", "name")}
    kin: dict[tuple[str, uuid.UUID | None], int] = {}
    for alert in found:
        kin[alert.rule, alert.actor_id] = kin.get((alert.rule, alert.actor_id), 0) + 1
    return [
        Row(
            alert,
            _who(alert, names),
            _about(alert, walls),
            f"/audit/events/{uids[alert.first_event]}" if alert.first_event in uids else "",
            names.called("user", str(alert.acknowledged_by)) if alert.acknowledged_by else "",
            alert.rule == AlertRule.BREAK_GLASS or alert.actor_id == officer,
            kin[alert.rule, alert.actor_id],
        )
        for alert in found
    ]


def _who(alert: Alert, names: Names) -> str:
    if alert.actor_id is not None:
        return names.people.get(str(alert.actor_id), alert.actor_name)
    return "The appliance" if alert.rule == AlertRule.SEAL_BEHIND else "Not signed in"


def _about(alert: Alert, walls: dict[str, str]) -> str:
    if alert.subject_kind == "wall":
        return walls.get(alert.subject_id, alert.subject_id)
    return f"From {alert.subject_id}" if alert.subject_kind == "address" else ""


@require_POST
@officers_only
def acknowledge(request: HttpRequest, alert_id: uuid.UUID) -> HttpResponse:
    note = request.POST.get("note", "")
    try:
        acts.do_acknowledge(alert_id, note=note, officer=current_user(request).pk, actor=actor_of(request))
    except NotFound:
        raise
    except ApplianceError as error:
        return _queue(request, error=error, noted=alert_id, note=note)
    return HttpResponseRedirect("/audit/alerts?said=one")


@require_POST
@officers_only
def acknowledge_all(request: HttpRequest) -> HttpResponse:
    """All open alerts of one rule and one person, with one note."""
    given = request.POST.get("person", "")
    try:
        person = uuid.UUID(given) if given else None
    except ValueError:
        return _queue(request, error=BadRequest("That is no number of a person.", code="filter_refused"))
    try:
        number = acts.do_acknowledge_all(
            request.POST.get("rule", ""),
            person,
            note=request.POST.get("note", ""),
            officer=current_user(request).pk,
            actor=actor_of(request),
        )
    except BadRequest as error:
        return _queue(request, error=error)
    return HttpResponseRedirect(f"/audit/alerts?said={number if number > 1 else 'one' if number else 'none'}")
