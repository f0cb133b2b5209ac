"""Addresses of signing in, sessions, the second factor, people, appearance and help."""

from django.urls import path

from appliance.accounts import factor_views, people_views, session_views, views

urlpatterns = [
    path("sign-in", views.sign_in),
    path("sign-in/second", factor_views.sign_in_second),
    path("sign-out", views.sign_out),
    path("sessions", session_views.sessions),
    path("sessions/end-others", session_views.end_others),
    path("sessions/<uuid:session_id>/end", session_views.end_session),
    path("sessions/of/<uuid:person_id>", session_views.sessions_of_person),
    path("sessions/of/<uuid:person_id>/end", session_views.end_all_of_person),
    path("sessions/of/<uuid:person_id>/unlock", session_views.lift_lockout),
    path("sessions/of/<uuid:person_id>/reset-second-factor", session_views.reset_factors),
    path("second-factor", factor_views.second_factors),
    path("second-factor/app", factor_views.add_app),
    path("second-factor/app/confirm", factor_views.confirm_app),
    path("second-factor/key", factor_views.add_key),
    path("second-factor/key/confirm", factor_views.confirm_key),
    path("second-factor/codes", factor_views.new_codes),
    path("second-factor/<uuid:factor_id>/remove", factor_views.remove),
    path("people", people_views.people),
    path("people/make", people_views.make),
    path("people/<uuid:person_id>", people_views.person),
    path("people/<uuid:person_id>/active", people_views.set_active),
    path("people/<uuid:person_id>/roles", people_views.give_role),
    path("people/<uuid:person_id>/roles/<int:grant_id>/take", people_views.take_role),
    path("theme", views.theme),
    path("help/shortcuts", views.shortcuts),
]
