"""manage.py sync_directory [--dry-run] [--force] [--json]"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from appliance.accounts.directory.sync import sync
from appliance.ops.commands import COMMAND, ApplianceCommand, Options

_SHOWN = 20


class Command(ApplianceCommand):
    help = "Makes accounts and groups what the directory says."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="print the difference and change nothing")
        parser.add_argument("--force", action="store_true", help="even if very many would be switched off")

    def act(self, options: Options) -> dict[str, Any]:
        return sync(dry_run=options.dry_run, force=options.force, actor=COMMAND)

    def show(self, result: dict[str, Any]) -> None:
        self.stdout.write("This would change:" if result["dry_run"] else "Changed:")
        lines = [
            *self._names("add person", result["people"]["add"]),
            *self._names("rename person", [f"{old} to {new}" for old, new in result["people"]["rename"]]),
            *self._names("switch on", result["people"]["enable"]),
            *self._names("switch off", result["people"]["disable"]),
            *self._names("add group", result["groups"]["add"]),
            *self._names("rename group", [f"{old} to {new}" for old, new in result["groups"]["rename"]]),
            *self._names("group is gone", result["groups"]["gone"]),
        ]
        for change in result["memberships"]:
            lines += self._names(f"join {change['group']}", change["join"])
            lines += self._names(f"leave {change['group']}", change["leave"])
        for line in lines or ["  nothing: all is as in the directory"]:
            self.stdout.write(line)
        for conflict in result["conflicts"]:
            self.stdout.write(
                f"  LEFT ALONE {conflict['kind']} {conflict['name']}: {conflict['code']} ({conflict['dn']})"
            )
        for name in result["cycles"]:
            self.stdout.write(f"  group {name} contains itself")
        if result["refused"] and result["dry_run"]:
            self.stdout.write(f"  A sync would refuse this without --force: {result['refused']}")

    @staticmethod
    def _names(what: str, names: list[str]) -> list[str]:
        more = [f"  {what}: and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
        return [f"  {what}: {name}" for name in names[:_SHOWN]] + more
