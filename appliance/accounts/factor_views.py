"""Pages of the second factor: showing it at sign-in, setting one up, removing it."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from appliance.accounts import second_factor, security_keys
from appliance.accounts.actions import start_session
from appliance.accounts.reauthentication import reauthenticated
from appliance.accounts.sessions import current_user, local_path, page
from appliance.lib.errors import BadRequest, RateLimited, SignInRefused
from appliance.lib.qr import qr_svg


@require_http_methods(["GET", "POST"])
def sign_in_second(request: HttpRequest) -> HttpResponse:
    """The code, after the password."""
    user = second_factor.pending(request)
    back = local_path(request.POST.get("next", "") or request.GET.get("next", ""))
    if user is None:
        return HttpResponseRedirect("/sign-in")
    if request.method == "GET":
        context: dict[str, Any] = {"next": back, "key_options": security_keys.sign_in_options(request, user)}
        return render(request, "accounts/second_factor_sign_in.html", context)
    try:
        if request.POST.get("credential"):
            proof = security_keys.check_key(request, user, request.POST["credential"])
        else:
            proof = second_factor.check_code(request, user, request.POST.get("code", ""))
    except (SignInRefused, RateLimited) as error:
        status = 422 if isinstance(error, SignInRefused) else error.http_status
        context = {"next": back, "error": error, "key_options": security_keys.sign_in_options(request, user)}
        response = render(request, "accounts/second_factor_sign_in.html", context, status=status)
        if isinstance(error, RateLimited):
            response["Retry-After"] = str(error.retry_after_s)
        return response
    start_session(request, user, proof)
    return HttpResponseRedirect(back)


def _page(request: HttpRequest, **more: Any) -> HttpResponse:
    user = current_user(request)
    context = {
        "factors": second_factor.factors_of(user),
        "codes_left": second_factor.codes_left(user),
        "required": second_factor.required(user),
    }
    error = more.get("error")
    return render(request, "accounts/second_factor.html", context | more, status=error.http_status if error else 200)


@require_GET
@page
def second_factors(request: HttpRequest) -> HttpResponse:
    return _page(request)


@require_POST
@page
@reauthenticated
def add_app(request: HttpRequest) -> HttpResponse:
    app, address = second_factor.begin_app(current_user(request))
    return _page(request, setting_up=app, address=address, secret=_grouped(address), picture=qr_svg(address))


@require_POST
@page
@reauthenticated
def confirm_app(request: HttpRequest) -> HttpResponse:
    user = current_user(request)
    try:
        codes = second_factor.do_confirm_app(request, user, request.POST.get("code", ""))
    except SignInRefused as error:
        app = second_factor.unconfirmed_app(user)
        address = second_factor.address_of_app(app) if app else ""
        response = _page(request, setting_up=app, secret=_grouped(address), picture=qr_svg(address), code_error=error)
        response.status_code = 422
        return response
    return _page(request, codes=codes, done=True)


@require_POST
@page
@reauthenticated
def add_key(request: HttpRequest) -> HttpResponse:
    options = security_keys.registration_options(request, current_user(request), settings.APPLIANCE_NAME)
    return _page(request, key_options=options)


@require_POST
@page
@reauthenticated
def confirm_key(request: HttpRequest) -> HttpResponse:
    answer, name = request.POST.get("credential", ""), request.POST.get("name", "")
    try:
        codes = security_keys.do_add_key(request, current_user(request), answer, name)
    except (SignInRefused, BadRequest) as error:
        response = _page(request, error=error)
        response.status_code = 422
        return response
    return _page(request, codes=codes, done=True)


@require_POST
@page
@reauthenticated
def new_codes(request: HttpRequest) -> HttpResponse:
    return _page(request, codes=second_factor.do_new_codes(request, current_user(request)))


@require_POST
@page
@reauthenticated
def remove(request: HttpRequest, factor_id: uuid.UUID) -> HttpResponse:
    try:
        second_factor.do_remove(request, current_user(request), factor_id)
    except BadRequest as error:
        return _page(request, error=error)
    return HttpResponseRedirect("/second-factor")


def _grouped(address: str) -> str:
    """The secret in groups of four, for typing."""
    secret = address.partition("secret=")[2].partition("&")[0]
    return " ".join(secret[i : i + 4] for i in range(0, len(secret), 4))
