"""Signing in with the directory's password. django-auth-ldap asks the directory; who the person is here is decided by
the entry's id. Loaded only where there is a directory."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import ldap
from django.conf import settings
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django_auth_ldap.backend import LDAPBackend, LDAPSettings, _LDAPUser, ldap_error
from django_auth_ldap.config import LDAPSearch, NestedActiveDirectoryGroupType, NestedGroupOfNamesType

from appliance.accounts.directory import state
from appliance.accounts.directory.connection import connection_options
from appliance.accounts.directory.entries import DirectoryPerson, schema_named
from appliance.accounts.directory.errors import unavailable
from appliance.accounts.directory.options import ACTIVE_DIRECTORY, Options, configured
from appliance.accounts.directory.reading import entry_of, normal
from appliance.accounts.models import Group, Membership, Source, User
from appliance.audit.models import EventType
from appliance.audit.record import SYSTEM, Entity, Event, record

log = logging.getLogger(__name__)

# libldap bounds each step; a thread lets the whole be bounded, whatever a server does in between.
_asking = ThreadPoolExecutor(max_workers=16, thread_name_prefix="directory")


class _Search(LDAPSearch):  # type: ignore[misc]
    """A search that fails aloud: the library's own takes a failure for "nobody of that name"."""

    def execute(self, connection: Any, filterargs: Any = (), escape: bool = True) -> Any:
        wanted = self.filterstr
        if filterargs:
            wanted %= self._escape_filterargs(filterargs) if escape else filterargs
        found = connection.search_s(self.base_dn, self.scope, wanted, self.attrlist)
        return [
            (dn.lower(), ldap.cidict.cidict({name: _decoded(values) for name, values in attributes.items()}))
            for dn, attributes in found
            if dn is not None
        ]


def _library_settings(options: Options) -> LDAPSettings:
    schema = schema_named(options.schema)
    named = "".join(f"({name}=%(user)s)" for name in schema.names)
    wanted = f"(&{options.user_filter.replace('%', '%%')}(|{named}))"
    group_type = NestedActiveDirectoryGroupType if options.schema == ACTIVE_DIRECTORY else NestedGroupOfNamesType
    return LDAPSettings(
        defaults={
            "SERVER_URI": options.url,
            "START_TLS": options.starttls,
            "CONNECTION_OPTIONS": connection_options(options, timeout_s=options.timeout_s),
            "BIND_DN": options.bind_dn,
            "BIND_PASSWORD": options.bind_password,
            "USER_SEARCH": _Search(options.user_base, ldap.SCOPE_SUBTREE, wanted, schema.person_attributes),
            "GROUP_SEARCH": _Search(
                options.group_base, ldap.SCOPE_SUBTREE, options.group_filter, [schema.id, schema.group_name]
            ),
            "GROUP_TYPE": group_type(name_attr=schema.group_name),
            "ALWAYS_UPDATE_USER": False,
            "PERMIT_EMPTY_PASSWORD": False,
        }
    )


def _decoded(values: list[bytes]) -> list[str | bytes]:
    """Text as text; what is not, such as an objectGUID, as it is."""
    decoded: list[str | bytes] = []
    for value in values:
        try:
            decoded.append(value.decode())
        except UnicodeDecodeError:
            decoded.append(value)
    return decoded


class DirectoryBackend(LDAPBackend, BaseBackend):  # type: ignore[misc]
    """Django's authentication backend for people of the directory."""

    _settings: LDAPSettings | None = None

    @property
    def settings(self) -> LDAPSettings:
        """django-auth-ldap's settings, made from ours; it reads none of Django's."""
        if self._settings is None:
            self._settings = _library_settings(configured(settings.DIRECTORY))
        return self._settings

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_: Any
    ) -> User | None:
        """The person whose name and password the directory knows. Raises DirectoryUnavailable.

        A local account's name is never asked for there: it would hand a stranger of that name the account.
        """
        if not username or not password:  # an empty password would bind as nobody, and succeed
            return None
        if User.objects.filter(username=username, directory_id=None).exists():
            return None
        asked = _asking.submit(_Asking(self).who, username, password)
        found = _bounded(asked, configured(settings.DIRECTORY).timeout_s)
        state.reached()
        if found is None or found.person.disabled:
            return None
        return _account(found)

    def get_user(self, user_id: Any) -> User | None:
        """Without asking the directory: sync and grace say what has ended."""
        return ModelBackend().get_user(user_id)

    def get_or_build_user(self, username: str, ldap_user: Any) -> tuple[User, bool]:
        """Nothing of the database is touched while the directory is asked."""
        return User(username=username), False


class _Found:
    """The entry of who signed in, and the groups they are in by any way."""

    def __init__(self, person: DirectoryPerson, group_dns: frozenset[str]) -> None:
        self.person, self.group_dns = person, group_dns


class _Asking:
    """The part of signing in that talks to the directory, and to nothing else."""

    def __init__(self, backend: DirectoryBackend) -> None:
        self._backend = backend

    def who(self, username: str, password: str) -> _Found | None:
        asked = _LDAPUser(self._backend, username=username)
        try:
            if self._backend.authenticate_ldap_user(asked, password) is None:
                return None
            person = entry_of(asked.dn, _values(asked.attrs), schema_named(configured(settings.DIRECTORY).schema))
            if person is None:
                return None
            asked._connection_bound = False  # groups are looked up by the appliance's account, not by the person's
            return _Found(person, frozenset(normal(dn) for dn in asked.group_dns))
        except ldap.LDAPError as error:
            raise unavailable(error, configured(settings.DIRECTORY)) from None
        finally:
            if asked._connection is not None:
                asked._connection.unbind_ext()


def _values(attributes: Mapping[str, list[str | bytes]]) -> dict[str, list[bytes]]:
    return {
        name.lower(): [value.encode() if isinstance(value, str) else value for value in values]
        for name, values in attributes.items()
    }


def _raise(*, exception: Exception, **_: Any) -> None:
    """The library takes every failure for a wrong password, unless a receiver of its signal says otherwise."""
    raise unavailable(exception, configured(settings.DIRECTORY))


ldap_error.connect(_raise, sender=DirectoryBackend, dispatch_uid="directory_unavailable")


def _bounded(asked: Future[_Found | None], timeout_s: float) -> _Found | None:
    try:
        return asked.result(timeout=timeout_s)
    except TimeoutError as error:
        asked.cancel()
        raise unavailable(error, configured(settings.DIRECTORY)) from None


def _account(found: _Found) -> User | None:
    """The account of an entry, made now if a sync has not made it. None where its name is someone else's here."""
    person = found.person
    user = User.objects.filter(directory_id=person.directory_id).first()
    if user is not None:
        return user if user.is_active else None
    try:
        with transaction.atomic():
            user = User.objects.create_user(
                person.username,
                display_name=person.display_name,
                title=person.title,
                source=Source.DIRECTORY,
                directory_id=person.directory_id,
                dn=person.dn,
            )
            groups = Group.objects.filter(source=Source.DIRECTORY, dn__in=found.group_dns)
            Membership.objects.bulk_create([Membership(user=user, group=group, direct=False) for group in groups])
            entities = (Entity("user", str(user.pk)), *(Entity("group", str(group.pk)) for group in groups))
            record(Event(EventType.ACCOUNT, "user.create", entities=entities), actor=SYSTEM)
    except IntegrityError:
        log.warning("a directory entry was refused: its user name belongs to another account")
        return None
    return user
