"""The directory's settings: a wrong one stops the start and is named; without one nothing of LDAP is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.accounts.directory.options import from_environment
from appliance.lib.env import SettingError

ROOT = Path(__file__).resolve().parents[2]
RIGHT = {
    "URL": "ldaps://directory.test:636",
    "BIND_DN": "cn=reader",
    "BIND_PASSWORD": "secret of the reader",
    "USER_BASE": "ou=people",
    "GROUP_BASE": "ou=groups",
}


def given(monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    for name, value in (RIGHT | changes).items():
        monkeypatch.setenv(f"APPLIANCE_LDAP_{name}", value)


def test_right_ones_are_taken_and_the_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ldap")
    given(monkeypatch, SCHEMA="active_directory", URL="ldap://directory.test")
    options = from_environment()
    assert options is not None and options.starttls and options.schema == "active_directory"
    assert "secret of the reader" not in repr(options)
    monkeypatch.setenv("APPLIANCE_LDAP_URL", "")
    assert from_environment() is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("URL", "http://directory.test"),
        ("URL", "ldap://"),
        ("URL", "ldaps://directory.test/dc=x"),
        ("CA_FILE", "/no/such/file"),
        ("CA_FILE", "/dev/null"),
        ("SCHEMA", "novell"),
        ("BIND_DN", ""),
        ("BIND_PASSWORD", ""),
        ("USER_BASE", ""),
        ("GROUP_BASE", ""),
        ("USER_FILTER", "uid=*"),
        ("GROUP_FILTER", "((cn=x)"),
        ("TIMEOUT_S", "5"),
        ("TIMEOUT_S", "soon"),
        ("GRACE_S", "60"),
        ("SYNC_INTERVAL_S", "0"),
        ("DISABLE_LIMIT_PERCENT", "101"),
    ],
)
def test_a_wrong_one_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    given(monkeypatch, **{name: value})
    with pytest.raises(SettingError, match=f"^APPLIANCE_LDAP_{name}"):
        from_environment()


def test_without_a_directory_python_ldap_is_not_needed() -> None:
    program = (
        "import sys; sys.modules['ldap'] = sys.modules['django_auth_ldap'] = None\n"
        "import django; django.setup()\n"
        "import appliance.asgi, appliance.urls, appliance.celery, appliance.accounts.tasks\n"
        "from appliance.ops.management.commands import sync_directory, doctor\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("APPLIANCE_LDAP_")}
    environment |= {"DJANGO_SETTINGS_MODULE": "tests.static_settings"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
