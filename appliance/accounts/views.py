"""Signing in and out, appearance, help."""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from appliance.accounts.actions import do_set_theme, do_sign_in, do_sign_out
from appliance.accounts.models import User
from appliance.accounts.sessions import current_user, local_path, page
from appliance.lib.errors import BadRequest, RateLimited, SignInLocked, SignInRefused, Unavailable
from appliance.lib.failures import respond
from appliance.lib.request_id import current_request_id


class FormExpired(BadRequest):
    """A form without a valid CSRF token: an old page, or one that is not ours."""

    code = "form_expired"
    http_status = 403
    default_message = "This page is too old to be sent."
    default_hint = "Go back, reload the page and send it again. Nothing was changed."


@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    back = local_path(request.POST.get("next", "") or request.GET.get("next", ""))
    if request.method == "GET":
        if isinstance(request.user, User) and request.user.is_active:
            return HttpResponseRedirect(back)
        return render(request, "accounts/sign_in.html", {"next": back})
    username = request.POST.get("username", "")
    try:
        user = do_sign_in(request, username, request.POST.get("password", ""))
    except (SignInRefused, RateLimited, Unavailable) as error:
        context = {"next": back, "username": username, "error": error, "request_id": current_request_id()}
        status = 422 if error.http_status == 401 else error.http_status
        template = "accounts/_sign_in.html" if request.headers.get("HX-Request") else "accounts/sign_in.html"
        response = render(request, template, context, status=status)
        if isinstance(error, (RateLimited, SignInLocked)):
            response["Retry-After"] = str(error.retry_after_s)
        return response
    if user is None:
        return HttpResponseRedirect(f"/sign-in/second?{urlencode({'next': back})}")
    return HttpResponseRedirect(back)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    do_sign_out(request)
    return HttpResponseRedirect("/sign-in")


@require_POST
@page
def theme(request: HttpRequest) -> HttpResponse:
    do_set_theme(current_user(request), request.POST.get("theme", ""))
    if request.headers.get("HX-Request"):
        return HttpResponse(status=204)
    return HttpResponseRedirect(local_path(request.POST.get("next", "")))


@require_GET
@page
def shortcuts(request: HttpRequest) -> HttpResponse:
    return render(request, "help/shortcuts.html")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's CSRF_FAILURE_VIEW."""
    return respond(request, FormExpired())
