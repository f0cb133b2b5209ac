"""Ready versions indexed again, by other rules or with another model's vectors, beside the index that is searched."""

import django.db.models.deletion
import pgvector.django.halfvec
from django.contrib.postgres.indexes import GinIndex
from django.db import migrations, models

# Until now a change of language indexed all documents of the collection at once.
LANGUAGES = """
UPDATE documents_documentversion AS v SET indexed_language = c.language
FROM documents_document AS d JOIN documents_collection AS c ON c.id = d.collection_id
WHERE d.id = v.document_id AND c.language <> v.indexed_language
"""


class Migration(migrations.Migration):
    dependencies = [
        ("documents", "0008_paused_uploads"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="documentversion",
            index=GinIndex(fields=["parties"], name="version_by_parties", opclasses=["jsonb_path_ops"]),
        ),
        migrations.CreateModel(
            name="BuiltVersion",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "model_id", "version_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "model",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="built",
                        to="documents.embeddingmodel",
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="documents.documentversion"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Reindexing",
            fields=[
                (
                    "version",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="documents.documentversion",
                    ),
                ),
                (
                    "model",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="documents.embeddingmodel",
                    ),
                ),
                ("lease_until", models.DateTimeField(null=True)),
                ("lease_token", models.UUIDField(null=True)),
                ("template", models.CharField(blank=True, max_length=20)),
                ("error_code", models.CharField(blank=True, max_length=40)),
            ],
        ),
        migrations.CreateModel(
            name="StagedChunk",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "work",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="chunks", to="documents.reindexing"
                    ),
                ),
                ("ordinal", models.PositiveIntegerField()),
                ("page", models.PositiveIntegerField()),
                ("start", models.PositiveIntegerField()),
                ("end", models.PositiveIntegerField()),
                ("heading", models.CharField(blank=True, max_length=300)),
                ("text", models.TextField()),
                ("indexed_text", models.TextField()),
                ("embedding", pgvector.django.halfvec.HalfVectorField(null=True)),
            ],
        ),
        migrations.AddField(
            model_name="collection",
            name="chunk_template",
            field=models.CharField(
                choices=[
                    ("generic", "Any text"),
                    ("contract", "Contracts: by clause"),
                    ("clinical_note", "Clinical notes: by section"),
                    ("policy", "Policies: by heading"),
                    ("slides", "Slides: one each"),
                    ("mail", "E-mail: by message"),
                ],
                default="generic",
                max_length=20,
            ),
        ),
        migrations.AddField(
            model_name="documentversion",
            name="indexed_language",
            field=models.CharField(default="english", max_length=63),
        ),
        migrations.RunSQL(LANGUAGES, migrations.RunSQL.noop),
        migrations.AddField(
            model_name="documentversion",
            name="indexed_template",
            field=models.CharField(
                choices=[
                    ("generic", "Any text"),
                    ("contract", "Contracts: by clause"),
                    ("clinical_note", "Clinical notes: by section"),
                    ("policy", "Policies: by heading"),
                    ("slides", "Slides: one each"),
                    ("mail", "E-mail: by message"),
                ],
                default="generic",
                max_length=20,
            ),
        ),
        migrations.AddField(
            model_name="embeddingmodel",
            name="building",
            field=models.BooleanField(default=False),
        ),
        migrations.AddConstraint(
            model_name="embeddingmodel",
            constraint=models.UniqueConstraint(
                condition=models.Q(("building", True)), fields=("building",), name="one_model_being_built"
            ),
        ),
        migrations.AddConstraint(
            model_name="stagedchunk",
            constraint=models.UniqueConstraint(fields=("work", "ordinal"), name="staged_chunk_once_per_ordinal"),
        ),
    ]
