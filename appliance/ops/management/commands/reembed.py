"""manage.py reembed MODEL [--json]"""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from typing import Any

from django.db import connections

from appliance.documents import embedding, reindexing
from appliance.documents.embedding import Progress
from appliance.documents.models import EmbeddingModel
from appliance.lib.errors import Conflict, NotFound
from appliance.ops.commands import COMMAND, ApplianceCommand, Options

_POLL_S = 0.5
_INVALID = "SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"
_CREATE = """
CREATE INDEX CONCURRENTLY {name} ON documents_chunkembedding
USING hnsw ((embedding::halfvec({dimensions})) halfvec_ip_ops) WHERE vector_dims(embedding) = {dimensions}
"""


class Command(ApplianceCommand):
    help = (
        "Moves the index to another embedding model: makes its vectors beside the old ones, then puts them in their"
        " place at once, then removes the old ones. Run it again after it was stopped: it goes on."
    )

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model", metavar="MODEL", help="its name at the model server")

    def act(self, options: Options) -> dict[str, Any]:
        if "owner" not in connections:
            raise NotFound(
                "The database's owner is not known here, and only the owner can build an index.",
                hint="Set APPLIANCE_DATABASE_OWNER_URL for this command.",
                code="owner_needed",
            )
        model = embedding.do_begin(options.model, actor=COMMAND)
        while not model.active:
            self._await_vectors(model)
            _build_index(model)
            if embedding.do_flip(model, actor=COMMAND):
                model.refresh_from_db()
        removed = embedding.remove_retired(actor=COMMAND)
        return {"model": model.name, "dimensions": model.dimensions, "active": True, "removed": removed}

    def _await_vectors(self, model: EmbeddingModel) -> None:
        """Until every ready version has its vectors. Workers make them; this says how far they are."""
        told: Progress | None = None
        reindexing.enqueue()
        while True:
            if not EmbeddingModel.objects.filter(pk=model.pk, building=True).exists():
                raise Conflict(f"{model.name} is not being built any more.")
            now = embedding.progress(model)
            if now != told:
                self.stdout.write(json.dumps({"progress": now.as_dict()}))
                self.stdout.flush()
                told = now
            if now.versions_done >= now.versions:
                return
            time.sleep(_POLL_S)

    def show(self, result: dict[str, Any]) -> None:
        self.stdout.write(
            f"Search uses {result['model']} ({result['dimensions']} figures a vector)."
            f" {result['removed']} vectors of what it replaced were removed."
        )


def _build_index(model: EmbeddingModel) -> None:
    """The index for vectors of this length, by the owner, without keeping anyone from writing. Repeatable."""
    name = f"chunkembedding_hnsw_{model.dimensions}"
    with connections["owner"].cursor() as cursor:
        cursor.execute(_INVALID, [name])
        row = cursor.fetchone()
        if row is not None and row[0]:  # what a stopped build leaves is kept up to date and never used
            cursor.execute(f"DROP INDEX CONCURRENTLY {name}")
            row = None
        if row is None:
            cursor.execute(_CREATE.format(name=name, dimensions=int(model.dimensions)))
