"""Addresses of the library and the document viewer."""

from django.urls import path

from appliance.documents import bulk_views, views

urlpatterns = [
    path("library", views.library),
    path("library/<uuid:collection_id>", views.collection),
    path("library/<uuid:collection_id>/upload", views.upload),
    path("library/<uuid:collection_id>/retry", views.retry_failed),
    path("library/<uuid:collection_id>/bulk", bulk_views.start),
    path("library/batches/<uuid:batch_id>", bulk_views.batch),
    path("library/batches/<uuid:batch_id>/files", bulk_views.announce),
    path("library/batches/<uuid:batch_id>/files/<int:item_id>", bulk_views.receive),
    path("library/batches/<uuid:batch_id>/unsent", bulk_views.unsent),
    path("library/batches/<uuid:batch_id>/pause", bulk_views.pause),
    path("library/batches/<uuid:batch_id>/resume", bulk_views.resume),
    path("library/batches/<uuid:batch_id>/cancel", bulk_views.cancel, name="batch-cancel"),
    path("library/batches/<uuid:batch_id>/retry", bulk_views.retry),
    path("documents/<uuid:document_id>/v/<int:n>/log", bulk_views.log),
    path("documents/<uuid:document_id>", views.document),
    path("documents/<uuid:document_id>/row", views.row),
    path("documents/<uuid:document_id>/delete", views.delete, name="document-delete"),
    path("documents/<uuid:document_id>/v/<int:n>", views.version),
    path("documents/<uuid:document_id>/v/<int:n>/pages/<int:number>", views.sheet),
    path("documents/<uuid:document_id>/versions", views.add_version),
    path("documents/<uuid:document_id>/v/<int:n>/current", views.make_current, name="document-make-current"),
    path("documents/<uuid:document_id>/v/<int:n>/retry", views.retry),
    path("documents/<uuid:document_id>/v/<int:n>/password", views.password),
    path("documents/<uuid:document_id>/v/<int:n>/download", views.download),
]
