"""manage.py doctor [--json]"""

from __future__ import annotations

from typing import Any

from appliance.ops import health
from appliance.ops.commands import ApplianceCommand, Options


class Command(ApplianceCommand):
    help = "Says what is up and what is not."

    def act(self, options: Options) -> dict[str, Any]:
        parts = health.check()
        ready = all(health.is_well(part) for part in parts.values())
        return {"status": "ready" if ready else "not_ready", "parts": parts}

    def show(self, result: dict[str, Any]) -> None:
        for name, part in result["parts"].items():
            self.stdout.write(f"{part['status']:<5} {name:<10} {part['detail']}")

    def succeeded(self, result: dict[str, Any]) -> bool:
        return bool(result["status"] == "ready")
