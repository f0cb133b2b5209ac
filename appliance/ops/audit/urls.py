"""Addresses of the audit's pages."""

from django.urls import path

from appliance.ops.audit import alerts, charts, events, filters, reviews, seal

urlpatterns = [
    path("audit", events.events),
    path("audit/events/<uuid:uid>", events.event),
    path("audit/seal", seal.seal),
    path("audit/seal/check", seal.check_now),
    path("audit/seal/checkpoint", seal.checkpoint),
    path("audit/seal/checkpoint/file", seal.checkpoint_file),
    path("audit/charts", charts.charts),
    path("audit/alerts", alerts.alerts),
    path("audit/alerts/acknowledge", alerts.acknowledge_all),
    path("audit/alerts/<uuid:alert_id>/acknowledge", alerts.acknowledge),
    path("audit/reviews", reviews.reviews),
    path("audit/reviews/begin", reviews.begin),
    path("audit/reviews/<uuid:review_id>", reviews.review),
    path("audit/reviews/<uuid:review_id>/note", reviews.note),
    path("audit/reviews/<uuid:review_id>/sign", reviews.sign),
    path("audit/filters", filters.filters),
    path("audit/filters/save", filters.save),
    path("audit/filters/<uuid:filter_id>", filters.change),
    path("audit/filters/<uuid:filter_id>/delete", filters.delete),
]
