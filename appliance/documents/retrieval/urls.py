"""Addresses of the page on which search is tried out."""

from django.urls import path

from appliance.documents.retrieval import views

_PAGE = "manage/collections/<uuid:collection_id>/retrieval"

urlpatterns = [
    path(_PAGE, views.trial),
    path(f"{_PAGE}/settings", views.settings),
    path(f"{_PAGE}/progress", views.progress),
    path(f"{_PAGE}/sets", views.create_set),
    path(f"{_PAGE}/sets/<uuid:set_id>/questions", views.save_question),
    path(f"{_PAGE}/sets/<uuid:set_id>/run", views.run_set),
    path(f"{_PAGE}/sets/<uuid:set_id>/delete", views.delete_set),
]
