"""Every address of the appliance."""

from django.urls import include, path

from appliance.lib.failures import handler

urlpatterns = [
    path("", include("appliance.accounts.urls")),
    path("", include("appliance.chat.urls")),
    path("", include("appliance.documents.urls")),
    path("", include("appliance.documents.retrieval.urls")),
    path("", include("appliance.documents.grants.urls")),
    path("", include("appliance.audit.urls")),
    path("", include("appliance.ops.urls")),
    path("", include("appliance.api.urls")),
]

handler400 = handler404 = handler500 = handler
