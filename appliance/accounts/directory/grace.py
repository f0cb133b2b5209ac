"""What happens to sessions of the directory's people when the directory has been silent for too long."""

from __future__ import annotations

from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from appliance.accounts.directory.state import vouches_for
from appliance.accounts.models import User
from appliance.accounts.sessions import actor_of
from appliance.audit.models import EventType
from appliance.audit.record import Entity, Event, record
from appliance.lib.errors import Unavailable
from appliance.lib.failures import respond


class DirectorySilent(Unavailable):
    """The directory has not answered for longer than the site allows."""

    code = "directory_silent"
    default_message = "The staff directory has not answered for too long, so you were signed out."
    default_hint = "Nothing you saved is lost. Sign in again when the directory is back, or tell an administrator."


class DirectoryGraceMiddleware(MiddlewareMixin):
    """Ends the session of a person whom the directory vouched for too long ago, and says why."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        user = request.user
        if not isinstance(user, User) or vouches_for(user):
            return None
        entities = (Entity("user", str(user.pk)),)
        record(Event(EventType.SIGN_OUT, "session.directory_silent", entities=entities), actor=actor_of(request))
        logout(request)
        return respond(request, DirectorySilent())
