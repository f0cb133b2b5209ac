"""Addresses of what was asked and answered, and of the requests to read it."""

from django.urls import path

from appliance.ops.audit_content import views

urlpatterns = [
    path("audit/content/<uuid:correlation>", views.content),
    path("audit/content/<uuid:correlation>/ask", views.ask),
    path("audit/content/<uuid:correlation>/read", views.read),
    path("audit/reveals", views.reveals),
    path("audit/reveals/<uuid:reveal_id>", views.decide),
]
