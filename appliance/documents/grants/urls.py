"""Addresses of access: grants, walls, emergency access, approvals."""

from django.urls import path

from appliance.documents.grants import break_glass_views, oversight_views, views, walls_views

_COLLECTION, _DOCUMENT = "manage/collections/<uuid:collection_id>/access", "documents/<uuid:document_id>/access"

urlpatterns = [
    path("access", oversight_views.overview),
    path(_COLLECTION, views.access),
    path(f"{_COLLECTION}/preview", views.preview),
    path(f"{_COLLECTION}/as", views.view_as),
    path(f"{_COLLECTION}/break-glass", views.allow_break_glass),
    path(f"{_COLLECTION}/<uuid:grant_id>/remove", views.remove),
    path(_DOCUMENT, views.access),
    path(f"{_DOCUMENT}/preview", views.preview),
    path(f"{_DOCUMENT}/<uuid:grant_id>/remove", views.remove),
    path("approvals", oversight_views.waiting),
    path("approvals/<uuid:approval_id>", oversight_views.decide),
    path("walls", walls_views.all_walls),
    path("walls/<uuid:wall_id>", walls_views.one),
    path("walls/<uuid:wall_id>/lift", walls_views.lift, name="wall-lift"),
    path("break-glass", break_glass_views.ask),
    path("break-glass/banner", break_glass_views.banner),
    path("break-glass/review", break_glass_views.to_review),
    path("break-glass/review/<uuid:break_glass_id>", break_glass_views.review),
    path("break-glass/<uuid:break_glass_id>/end", break_glass_views.end),
]
