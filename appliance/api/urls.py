"""/api/v1 and /v1."""

from django.urls import path

from appliance.api import gateway, token_pages
from appliance.api.rest import api

urlpatterns = [
    path("api/v1/", api.urls),
    path("tokens", token_pages.tokens),
    path("tokens/new", token_pages.make),
    path("tokens/<uuid:token_id>/revoke", token_pages.revoke),
    path("v1/models", gateway.models),
    path("v1/chat/completions", gateway.chat_completions),
    path("v1/responses", gateway.responses),
    path("v1/embeddings", gateway.embeddings),
]
