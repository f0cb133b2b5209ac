"""manage.py ask QUESTION --as USER [--json]"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from appliance.api.gateway import file_citations, shown
from appliance.chat.answering import Completed, Question, Searched, answer, check_question
from appliance.documents.search import Coverage
from appliance.lib.principal import acting_as
from appliance.llm import client
from appliance.ops.commands import COMMAND, ApplianceCommand, Options, person


class Command(ApplianceCommand):
    help = "Asks a question as a person would. Recorded like any question."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("question", metavar="QUESTION")
        parser.add_argument("--as", dest="username", required=True, metavar="USER")

    def act(self, options: Options) -> dict[str, Any]:
        return answered(options.question, options.username)

    def show(self, result: dict[str, Any]) -> None:
        self.stdout.write(result["answer"])
        for source in {c["number"]: c for c in result["citations"]}.values():
            checked = "quote checked" if source["verified"] else "quote not checked"
            self.stdout.write(f"[{source['number']}] {source['filename']}, page {source['page']} ({checked})")


def answered(question: str, username: str) -> dict[str, Any]:
    """Asks as that person; returns what --json prints. Raises ApplianceErrors."""
    user = person(username)
    actor = replace(COMMAND, user_id=user.pk, name=user.username)
    with acting_as(user.pk):
        completed, coverage = asyncio.run(_answered(Question(user, actor, check_question(question))))
    return {
        "answer": shown(completed.holder.text, completed.holder),
        "declined": completed.holder.declined,
        "citations": file_citations(completed.holder),
        "dropped": completed.holder.dropped,
        "unsupported": len(completed.holder.unsupported),
        "coverage": coverage.as_dict(),
        "model": completed.model,
        "finish_reason": completed.finish_reason,
    }


async def _answered(question: Question) -> tuple[Completed, Coverage]:
    coverage: Coverage | None = None
    try:
        async with aclosing(answer(question)) as events:
            async for event in events:
                if isinstance(event, Searched):
                    coverage = event.coverage
                elif isinstance(event, Completed) and coverage is not None:
                    return event, coverage
    finally:
        await client.aclose()
    raise AssertionError("an answer ends completed or raises")
