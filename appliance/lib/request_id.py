"""One id per request, in the log, in error pages and in the audit, so that the three can be put together."""

from __future__ import annotations

import contextvars
import logging
import uuid
from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse

from appliance.lib import place

_current: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")


def current_request_id() -> str:
    """The id of the request being served, or "-" outside one."""
    return _current.get()


class RequestIdFilter(logging.Filter):
    """Puts `request_id` on each log record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = _current.get()
        return True


def _begin(request: HttpRequest) -> None:
    _current.set(uuid.uuid4().hex[:16])
    place.enter(request)


class RequestIdMiddleware:
    """Gives each request a fresh id, and says where it is.

    An id sent by the caller is not trusted: it would let them forge the trail.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse | Awaitable[HttpResponse]]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        if iscoroutinefunction(self.get_response):
            return self._async_call(request)
        _begin(request)
        response = self.get_response(request)
        assert isinstance(response, HttpResponse)
        response["X-Request-Id"] = _current.get()
        return response

    async def _async_call(self, request: HttpRequest) -> HttpResponse:
        _begin(request)
        answer = self.get_response(request)
        assert not isinstance(answer, HttpResponse)
        response = await answer
        response["X-Request-Id"] = _current.get()
        return response
