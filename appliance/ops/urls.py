"""Addresses of the probes, the status page, groups and the audit's pages."""

from django.urls import include, path

from appliance.ops import group_pages, probes, views

urlpatterns = [
    path("api/v1/health/live", probes.live),
    path("api/v1/health/ready", probes.ready),
    path("status", views.status),
    path("groups", group_pages.groups),
    path("groups/make", group_pages.make),
    path("groups/<uuid:group_id>", group_pages.group),
    path("groups/<uuid:group_id>/roles", group_pages.give_role),
    path("groups/<uuid:group_id>/roles/<int:grant_id>/take", group_pages.take_role),
    path("groups/<uuid:group_id>/collections", group_pages.map_collection),
    path("groups/<uuid:group_id>/collections/<uuid:grant_id>/remove", group_pages.unmap_collection),
    path("groups/<uuid:group_id>/members", group_pages.join),
    path("groups/<uuid:group_id>/members/<uuid:person_id>/leave", group_pages.leave),
    path("", include("appliance.ops.audit.urls")),
    path("", include("appliance.ops.audit_content.urls")),
    path("", include("appliance.ops.reports.urls")),
]
