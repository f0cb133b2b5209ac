"""manage.py export_audit OUT.zip [--json]"""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from appliance.audit.database import connect
from appliance.audit.exporting import export_log
from appliance.audit.models import EventType
from appliance.audit.record import Event, record
from appliance.ops.commands import COMMAND, ApplianceCommand, Options


class Command(ApplianceCommand):
    help = "Writes the sealed audit to a file, with the program that checks it on another machine."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", metavar="OUT.zip", type=Path)

    def act(self, options: Options) -> dict[str, Any]:
        with connect() as connection:
            made = export_log(connection, options.path.absolute(), announce=_recorded)
        return {
            "path": str(made.path),
            "size": made.size,
            "checkpoints": made.num_checkpoints,
            "size_bytes": made.size_bytes,
        }

    def show(self, result: dict[str, Any]) -> None:
        self.stdout.write(f"{result['size']:,} events, {result['size_bytes']:,} bytes: {result['path']}")
        self.stdout.write("How to check it on another machine is in its README.txt.")


def _recorded(size: int) -> None:
    record(Event(EventType.EXPORT, "audit.export", detail={"size": str(size), "form": "zip"}), actor=COMMAND)
