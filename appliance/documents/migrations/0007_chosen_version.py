"""Until when a choice of the version in use holds."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("documents", "0006_viewer"),
    ]

    operations = [
        migrations.AddField(
            model_name="document",
            name="newest_when_chosen",
            field=models.PositiveIntegerField(default=0),
        ),
    ]
