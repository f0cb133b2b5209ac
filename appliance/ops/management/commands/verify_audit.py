"""manage.py verify_audit [--json] [--checkpoint FILE] [--key VKEY] [--columns]"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any

import psycopg
from django.core.management.base import BaseCommand
from django.db import DatabaseError, transaction

from appliance.audit import verifier
from appliance.audit.database import connect
from appliance.audit.models import EventType, Outcome, Verification
from appliance.audit.record import Event, record
from appliance.audit.verifying import verify_database
from appliance.lib.errors import AuditUnavailable, DatabaseUnavailable
from appliance.ops.commands import COMMAND


class Command(BaseCommand):
    help = "Checks that the audit is as it was sealed. Exit status: 0 sound, 1 damage found, 2 could not run."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object, last on stdout")
        parser.add_argument(
            "--checkpoint", action="append", default=[], metavar="FILE", help="a checkpoint that left the appliance"
        )
        parser.add_argument("--key", default="", metavar="VKEY", help="the log's first public key, kept outside")
        parser.add_argument("--columns", action="store_true", help="also compare what filters use with the events")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            outside = verifier.texts_of(options["checkpoint"])
            with connect() as connection:
                report = verify_database(connection, key=options["key"], outside=outside, columns=options["columns"])
        except (verifier.CannotRun, DatabaseUnavailable, psycopg.Error) as error:
            message = str(error).strip().splitlines()[0]
            if options["json"]:
                refused = {"code": "cannot_verify", "message": message, "hint": "Nothing was checked."}
                self.stdout.write(json.dumps({"error": refused}))
            else:
                self.stderr.write(f"Nothing was checked: {message}")
            sys.exit(2)
        self._keep(report)
        self.stdout.write(json.dumps(report.as_dict()) if options["json"] else verifier.describe(report))
        sys.exit(0 if report.sound else 1)

    def _keep(self, report: verifier.Report) -> None:
        """What was found goes on the record. That it cannot does not keep it from being told."""
        first = report.findings[0] if report.findings else None
        problem = f"{first.code} at {first.position}: {first.message}" if first else ""
        detail = {"size": str(report.size), "sound": report.sound, "findings": len(report.findings) + report.more}
        outcome = Outcome.SUCCESS if report.sound else Outcome.FAILED
        try:
            with transaction.atomic():
                Verification.objects.create(size=report.size, sound=report.sound, problem=problem[:500])
                record(Event(EventType.REVIEW, "audit.verify", outcome, detail=detail), actor=COMMAND)
        except (AuditUnavailable, DatabaseError) as error:
            self.stderr.write(f"This check could not be put on the record: {error}")
