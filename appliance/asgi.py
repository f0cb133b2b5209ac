"""The web application: static files from memory-mapped folders, everything else Django."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "appliance.settings")

from django.conf import settings  # noqa: E402  (settings need the line above)
from django.core.asgi import get_asgi_application  # noqa: E402
from servestatic import ServeStaticASGI  # type: ignore[import-untyped]  # noqa: E402

django_application = get_asgi_application()

from appliance.checks import refuse_if_unsafe  # noqa: E402  (checks need the applications loaded)
from appliance.lib.headers import static_headers  # noqa: E402

refuse_if_unsafe()

application = ServeStaticASGI(
    django_application,
    root=str(settings.BASE_DIR / "static"),
    prefix=settings.STATIC_URL.strip("/"),
    max_age=3600,
    autorefresh=False,
    allow_all_origins=False,
    add_headers_function=static_headers,
)
