"""The one place where an exception becomes a response: REST, OpenAI-shaped, htmx notice or page.

Database outages are translated here too, so that no view ever shows a driver's words.
"""

from __future__ import annotations

import errno
import logging
import sys

from django.contrib.sessions.exceptions import SessionInterrupted
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.deprecation import MiddlewareMixin

from appliance.lib.errors import (
    ApplianceError,
    BadRequest,
    DatabaseUnavailable,
    DiskFull,
    NotFound,
    NotSignedIn,
    RateLimited,
    SignInLocked,
    Unavailable,
    UploadTooLarge,
)
from appliance.lib.request_id import current_request_id

log = logging.getLogger(__name__)

#: The disk is full, or what this user or process may write to it is used up.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class InternalError(ApplianceError):
    """A fault of the appliance itself. The cause is in the log, under the request id."""

    code = "internal_error"
    http_status = 500
    permanent = False
    default_message = "Something failed inside the appliance."
    default_hint = "Nothing was changed. Tell an administrator the request id if it happens again."


def translate(error: BaseException) -> ApplianceError:
    """Any exception as one of ours. What is not understood is logged and becomes InternalError."""
    if isinstance(error, ApplianceError):
        return error
    if isinstance(error, Http404):
        return NotFound()
    if isinstance(error, (OperationalError, InterfaceError)) or type(error).__name__ == "PoolTimeout":
        log.warning("database not answering: %s", type(error).__name__)
        return DatabaseUnavailable()
    if isinstance(error, DataError):  # NUL in a text, a number beyond the column's: the caller's, whatever it was for
        log.warning("refused by the database: %s", type(error.__cause__).__name__)
        return BadRequest("The request holds a value that can be neither stored nor looked up.")
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        log.warning("no room on the disk: %s", errno.errorcode[error.errno])
        return DiskFull()
    if isinstance(error, RequestDataTooBig):
        return UploadTooLarge("The request is larger than is accepted here.")
    if isinstance(error, SessionInterrupted):  # ended by someone else while this request ran
        return NotSignedIn()
    if isinstance(error, SuspiciousOperation):
        return BadRequest()
    log.error("unexpected %s", type(error).__name__, exc_info=error)
    return InternalError()


def openai_error(error: ApplianceError) -> dict[str, object]:
    """The error in the shape OpenAI clients parse."""
    kind = "invalid_request_error" if error.http_status < 500 else "server_error"
    message = f"{error.message} {error.hint}".strip()
    return {"error": {"message": message, "type": kind, "code": error.public_code, "param": None}}


def respond(request: HttpRequest, failure: BaseException) -> HttpResponse:
    """The response for `failure`, in the form its reader understands."""
    error = translate(failure)
    response: HttpResponse
    if request.path.startswith("/v1/"):
        response = JsonResponse(openai_error(error), status=error.http_status)
    elif request.path.startswith("/api/"):
        body = {"error": error.as_dict() | {"request_id": current_request_id()}}
        response = JsonResponse(body, status=error.http_status)
    else:
        context = {"error": error, "request_id": current_request_id()}
        template = "_error.html" if request.headers.get("HX-Request") else "error.html"
        try:
            response = render(request, template, context, status=error.http_status)
        except Exception:  # the page itself needs the database for the signed-in name: fall back to one without
            context["signed_out"] = True
            response = render(None, "error.html", context, status=error.http_status)
    if isinstance(error, Unavailable):
        response["Retry-After"] = "10"
    elif isinstance(error, (RateLimited, SignInLocked)):
        response["Retry-After"] = str(error.retry_after_s)
    if error.http_status == 401 and request.path.startswith(("/v1/", "/api/")):
        response["WWW-Authenticate"] = "Bearer"
    return response


class FailureMiddleware(MiddlewareMixin):
    """Turns what a view, or a middleware below this one, raises into a plain refusal."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse:
        return respond(request, exception)

    def __call__(self, request: HttpRequest):  # type: ignore[no-untyped-def]
        if self.async_mode:
            return self.__acall__(request)
        try:
            return self.get_response(request)
        except Exception as error:
            return respond(request, error)

    async def __acall__(self, request: HttpRequest):  # type: ignore[no-untyped-def]
        from asgiref.sync import sync_to_async

        try:
            return await self.get_response(request)  # type: ignore[misc]
        except Exception as error:
            return await sync_to_async(respond)(request, error)


def handler(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's own 400, 404 and 500 pages, in our words. It hands over no cause of a 500: that is being handled."""
    return respond(request, exception or sys.exc_info()[1] or InternalError())
