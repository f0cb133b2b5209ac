"""What is known of the directory itself: one row."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_allowance"),
    ]

    operations = [
        migrations.CreateModel(
            name="DirectoryState",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reached_at", models.DateTimeField(null=True)),
                ("synced_at", models.DateTimeField(null=True)),
                ("report", models.JSONField(default=dict)),
                ("problem", models.CharField(blank=True, max_length=500)),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="one_directory")],
            },
        ),
    ]
