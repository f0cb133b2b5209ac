"""Addresses of the reports."""

from django.urls import path

from appliance.ops.reports import views

urlpatterns = [
    path("audit/disclosures", views.disclosures),
    path("audit/reports", views.reports),
    path("audit/reports/<str:kind>", views.make),
]
