"""manage.py report KIND --of person|document|collection|reference VALUE --as USER --format F --out FILE [--json]"""

from __future__ import annotations

import os
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from typing import Any

from appliance.accounts.models import Role
from appliance.lib.errors import BadRequest, Conflict, NotFound
from appliance.lib.principal import acting_as
from appliance.ops.commands import COMMAND, ApplianceCommand, Options, person
from appliance.ops.reports.asking import kind_named, period_between, subject_named
from appliance.ops.reports.making import do_make
from appliance.ops.reports.model import Format, Kind, Of


class Command(ApplianceCommand):
    help = "Makes a report of the audit as a compliance officer would. Recorded like any report."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("kind", metavar="KIND", help=", ".join(Kind.values))
        parser.add_argument("value", metavar="VALUE", help="a name, a number or a reference")
        parser.add_argument("--of", required=True, metavar="WHAT", help=", ".join(Of.values))
        parser.add_argument("--as", dest="username", required=True, metavar="USER", help="a compliance officer")
        parser.add_argument("--format", default="csv", metavar="FORMAT", help=", ".join(Format.values))
        parser.add_argument("--from", dest="first", default="", metavar="DAY", help="like 2026-11-01")
        parser.add_argument("--to", dest="last", default="", metavar="DAY", help="the last day, included")
        parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="the zip to write")

    def act(self, options: Options) -> dict[str, Any]:
        officer = person(options.username)
        if not officer.has_role(Role.COMPLIANCE_OFFICER):
            raise NotFound(
                f"{options.username} is no compliance officer.",
                hint="Name one with --as: reports are theirs to make.",
                code="officer_not_found",
            )
        path: Path = options.out
        if path.exists():
            raise Conflict(f"{path} is there already.", hint="Choose another name.", code="file_exists")
        if not path.parent.is_dir():
            raise BadRequest(f"There is no folder {path.parent}.", hint="Make it first.", code="folder_not_found")
        actor = replace(COMMAND, user_id=officer.pk, name=officer.username)
        with acting_as(officer.pk):
            kind = kind_named(options.kind)
            subject = subject_named(kind, options.of, options.value)
            period = period_between(options.first, options.last)
            made = do_make(kind, subject, period, options.format, actor=actor)
        _write(path, made.content)
        return {
            "file": str(path),
            "rows": len(made.report.rows),
            "events": len(made.report.events),
            "cut_off": made.report.truncated,
            "sha256": made.sha256,
        }

    def show(self, result: dict[str, Any]) -> None:
        self.stdout.write(f"{result['file']}: {result['rows']:,} rows. SHA-256 of the report: {result['sha256']}")
        if result["cut_off"]:
            self.stdout.write("There are more events: choose a shorter time.")


def _write(path: Path, content: bytes) -> None:
    """For its owner alone, never over another file, and whole or not at all."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as target:
            target.write(content)
            target.flush()
            os.fsync(target.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise
