"""A security key beside the password: Chromium's own virtual one."""

from __future__ import annotations

import pytest
from browser_people import Room, Visit

pytestmark = pytest.mark.browser


def test_a_key_is_set_up_used_and_refused_when_it_is_another(visit: Visit, room: Room) -> None:
    watched = visit("charlie")
    page, url = watched.page, room.url.replace("127.0.0.1", "localhost")  # a key is for a name, not for an address
    keys = page.context.new_cdp_session(page)
    keys.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "usb", "hasUserVerification": True, "isUserVerified": True}
    key = keys.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]

    def give_password() -> None:
        page.context.clear_cookies()
        page.goto(f"{url}/sign-in")
        page.fill("#username", "charlie")
        page.fill("#password", room.passwords["charlie"])
        page.get_by_role("button", name="Sign in").click()

    give_password()
    page.wait_for_url(f"{url}/")
    page.goto(f"{url}/second-factor")
    page.get_by_role("button", name="Set up a security key").click()
    page.get_by_label("What you call it").fill("Blue key")
    page.get_by_role("button", name="Touch the key").click()
    page.get_by_role("heading", name="Your recovery codes").wait_for()
    assert page.locator("#new-codes li").count() == 10
    page.get_by_text("Blue key").wait_for()

    give_password()
    page.get_by_role("button", name="Use a security key").click()
    page.wait_for_url(f"{url}/")

    kept = keys.send("WebAuthn.getCredentials", {"authenticatorId": key})["credentials"][0]
    kept["signCount"] = 0  # a copy of the key, made before it was used
    keys.send("WebAuthn.removeCredential", {"authenticatorId": key, "credentialId": kept["credentialId"]})
    keys.send("WebAuthn.addCredential", {"authenticatorId": key, "credential": kept})
    give_password()
    page.get_by_role("button", name="Use a security key").click()
    page.get_by_role("heading", name="That security key was not accepted.").wait_for()
    kept["signCount"] = 50
    keys.send("WebAuthn.removeCredential", {"authenticatorId": key, "credentialId": kept["credentialId"]})
    keys.send("WebAuthn.addCredential", {"authenticatorId": key, "credential": kept})
    page.get_by_role("button", name="Use a security key").click()
    page.wait_for_url(f"{url}/")
    page.goto(f"{url}/second-factor")
    page.get_by_role("button", name="Remove Blue key").click()
    page.get_by_text("None yet").wait_for()
    assert all(address.startswith(url) for address in watched.elsewhere)
