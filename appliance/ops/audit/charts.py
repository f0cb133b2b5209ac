"""Charts of a period: events, refusals and use outside working hours, by day."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.views.decorators.http import require_GET

from appliance.accounts.models import User
from appliance.accounts.sessions import actor_of
from appliance.audit import charts as drawing
from appliance.audit import review
from appliance.audit.filters import FilterRefused
from appliance.audit.record import Entity
from appliance.ops.audit import asking
from appliance.ops.audit.names import officers_only
from appliance.ops.audit.seal import seal_of

_DEFAULT_DAYS = 30


@require_GET
@officers_only
def charts(request: HttpRequest) -> HttpResponse:
    error: FilterRefused | None = None
    context = {"seal": seal_of(), "given": request.GET, "hours": _hours_in_words(), "tab": "charts"}
    try:
        context |= _drawn(request)
    except FilterRefused as refused:
        error = refused
    return render(request, "audit/charts.html", context | {"error": error}, status=error.http_status if error else 200)


def _drawn(request: HttpRequest) -> dict[str, object]:
    today = timezone.localdate()
    last = _day(request, "to") or today
    first = _day(request, "from") or last - timedelta(days=_DEFAULT_DAYS - 1)
    if not first <= last < first + timedelta(days=drawing.MAX_DAYS):
        raise FilterRefused(f"Between the two dates lie at most {drawing.MAX_DAYS} days.", hint="Change one of them.")
    person = _person(request)
    entities = (Entity("user", str(person.pk)),) if person else ()
    detail = {"from": first.isoformat(), "to": last.isoformat()}
    review.record_look(detail, entities=entities, actor=actor_of(request), action="audit.charts")
    start, end = (timezone.make_aware(datetime.combine(day, time())) for day in (first, last + timedelta(days=1)))
    found = drawing.days(start, end, first, person=person.pk if person else None)
    return {
        "charts": [
            drawing.drawn("Events", found, [day.num_events for day in found], "s1"),
            drawing.drawn("Refused", found, [day.num_refused for day in found], "s3"),
            drawing.drawn("Outside working hours", found, [day.num_after_hours for day in found], "s2"),
        ],
        "days": [(day, asking.address({"from": f"{day.day}", "to": f"{day.day}"})) for day in reversed(found)],
        "first": first,
        "middle": first + (last - first) / 2,
        "last": last,
        "person": person,
    }


def _day(request: HttpRequest, name: str) -> date | None:
    given = request.GET.get(name, "").strip()[:40]
    if not given:
        return None
    try:
        if day := parse_date(given):
            return day
    except ValueError:
        pass
    raise FilterRefused(f"“{given}” is no date.", hint="Write it like 2026-11-20.")


def _person(request: HttpRequest) -> User | None:
    given = request.GET.get("person", "").strip()[:150]
    if not given:
        return None
    found = list(User.objects.filter(username=given.lower())[:1]) or list(
        User.objects.filter(display_name__icontains=given)[:2]
    )
    if len(found) != 1:
        raise FilterRefused(
            f"{'Nobody has' if not found else 'Several people have'} a name with “{given}”.",
            hint="Write the account name.",
        )
    return found[0]


def _hours_in_words() -> str:
    start, end = settings.WORKING_HOURS
    days = ", ".join(
        name for n, name in enumerate(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")) if n in settings.WORKING_DAYS
    )
    return f"{start // 60:02}:{start % 60:02} to {end // 60:02}:{end % 60:02}, {days}"
