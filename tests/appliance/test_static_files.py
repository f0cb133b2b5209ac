"""Static files are served past Django's middleware, with the security headers of a page all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from appliance_desk import Desk

NOT_OF_FILES = {"content-length", "content-type", "cache-control", "date", "server", "vary", "set-cookie", "expires"}
WORKER = "vendor/pdfjs/pdf.worker.min.mjs"


def test_every_static_file_has_the_security_headers_of_a_page(desk: Desk, repository: Path) -> None:
    static = repository / "static"
    files = sorted(path for path in static.rglob("*") if path.is_file())
    assert len(files) > 200
    with desk.anonymous() as client:
        page = {name: value for name, value in client.get("/sign-in").headers.items() if name not in NOT_OF_FILES}
        page = {name: value for name, value in page.items() if not name.startswith("x-request")}
        assert {"content-security-policy", "x-content-type-options", "x-frame-options", "referrer-policy"} <= set(page)
        for path in files:
            name = path.relative_to(static).as_posix()
            headers = client.get(f"/static/{name}").raise_for_status().headers
            assert "access-control-allow-origin" not in headers
            expected = dict(page)
            if name == WORKER:  # what pdf.js needs, and no more
                expected["content-security-policy"] = "default-src 'none'; script-src 'self'; connect-src 'self'"
            assert {key: headers.get(key) for key in expected} == expected, name


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_file_that_was_not_changed_keeps_its_headers(desk: Desk, method: str) -> None:
    with desk.anonymous() as client:
        first = client.request(method, "/static/app.js")
        known = {"If-Modified-Since": first.headers["Last-Modified"]}
        again = client.request(method, "/static/app.js", headers=known)
        assert again.status_code == 304
        missing = client.request(method, "/static/no-such-file.js")
    assert (missing.status_code, "content-security-policy" in missing.headers) == (404, True)
