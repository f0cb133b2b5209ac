"""People, groups, roles and API tokens."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.postgres.fields import ArrayField
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.db.models import Q
from django.utils import timezone


class Source(models.TextChoices):
    """Where an account comes from."""

    LOCAL = "local", "Local"
    DIRECTORY = "directory", "Directory"


class Role(models.TextChoices):
    """What a person may do with the appliance. No role gives a right to content: that is what grants are for."""

    STAFF = "staff", "Staff"
    CONTRIBUTOR = "contributor", "Contributor"
    COLLECTION_MANAGER = "collection_manager", "Collection manager"
    COMPLIANCE_OFFICER = "compliance_officer", "Compliance officer"
    CONTENT_APPROVER = "content_approver", "Content approver"
    ADMINISTRATOR = "administrator", "Administrator"


class Group(models.Model):
    """A group of people, local or from the directory. `directory_id` is the entry's own id there: names may change."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=150, unique=True)
    source = models.CharField(max_length=10, choices=Source, default=Source.LOCAL)
    directory_id = models.CharField(max_length=100, unique=True, null=True)
    dn = models.TextField(blank=True)
    # The groups that this one is a member of, as the directory has it. Who is in which group is `Membership`.
    parents = models.ManyToManyField("self", symmetrical=False, related_name="nested", blank=True)

    def __str__(self) -> str:
        return self.name


class UserManager(BaseUserManager["User"]):
    """Finds people by name, whatever its case."""

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(username=(username or "").strip().lower())

    def create_user(self, username: str, password: str | None = None, **fields: Any) -> User:
        user = self.model(username=username.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractBaseUser):
    """A person. `username` is kept in lower case; a directory person has no usable local password."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    username = models.CharField(max_length=150, unique=True)
    display_name = models.CharField(max_length=150, blank=True)
    title = models.CharField(max_length=150, blank=True)
    source = models.CharField(max_length=10, choices=Source, default=Source.LOCAL)
    is_active = models.BooleanField(default=True)
    directory_id = models.CharField(max_length=100, unique=True, null=True)
    dn = models.TextField(blank=True)
    theme = models.CharField(max_length=6, default="system", choices=[(t, t) for t in ("system", "light", "dark")])
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    groups = models.ManyToManyField(Group, related_name="members", blank=True, through="Membership")

    #: Set when the person came with a token made for some collections: nothing outside them is theirs meanwhile.
    only_collections: tuple[uuid.UUID, ...] | None = None

    USERNAME_FIELD = "username"
    objects: ClassVar[UserManager] = UserManager()

    def __str__(self) -> str:
        return self.display_name or self.username

    @property
    def initials(self) -> str:
        """Up to two letters for the avatar."""
        words = [word for word in (self.display_name or self.username).split() if word[0].isalnum()]
        return "".join(word[0] for word in (words[0], words[-1])[: len(words)]).upper() if words else "?"

    @property
    def roles(self) -> frozenset[str]:
        """The roles of this person, their own and their groups', read once per loaded object."""
        cached: frozenset[str] | None = self.__dict__.get("_roles")
        if cached is None:
            held = RoleGrant.objects.filter(Q(user=self) | Q(group__members=self))
            cached = frozenset(held.values_list("role", flat=True))
            self.__dict__["_roles"] = cached
        return cached

    @property
    def group_ids(self) -> frozenset[uuid.UUID]:
        """The groups this person is in, directly or through others, read once per loaded object."""
        cached: frozenset[uuid.UUID] | None = self.__dict__.get("_group_ids")
        if cached is None:
            cached = frozenset(Membership.objects.filter(user=self).values_list("group_id", flat=True))
            self.__dict__["_group_ids"] = cached
        return cached

    def has_role(self, *roles: Role) -> bool:
        """Whether this person is active and holds any of `roles`."""
        return self.is_active and not self.roles.isdisjoint(roles)


class Membership(models.Model):
    """A person in a group. `direct` is false where a group inside this one brings them in."""

    user = models.ForeignKey(User, on_delete=models.CASCADE)
    group = models.ForeignKey(Group, on_delete=models.CASCADE)
    direct = models.BooleanField(default=True, db_default=True)

    class Meta:
        db_table = "accounts_user_groups"
        constraints = [models.UniqueConstraint(fields=["user", "group"], name="member_once")]


class RoleGrant(models.Model):
    """A role held by one person or by one group."""

    role = models.CharField(max_length=20, choices=Role)
    user = models.ForeignKey(User, null=True, on_delete=models.CASCADE, related_name="role_grants")
    group = models.ForeignKey(Group, null=True, on_delete=models.CASCADE, related_name="role_grants")

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="role_one_principal",
                condition=Q(user__isnull=True, group__isnull=False) | Q(user__isnull=False, group__isnull=True),
            ),
            models.UniqueConstraint(fields=["role", "user"], name="role_once_per_user", condition=Q(group=None)),
            models.UniqueConstraint(fields=["role", "group"], name="role_once_per_group", condition=Q(user=None)),
        ]


class DirectoryState(models.Model):
    """One row: when the site's directory last answered, and what the last sync did. Without an answer for longer than
    the grace, sessions of its people end."""

    reached_at = models.DateTimeField(null=True)
    synced_at = models.DateTimeField(null=True)
    report = models.JSONField(default=dict)
    problem = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [models.CheckConstraint(name="one_directory", condition=Q(id=1))]


class Session(AbstractBaseSession):
    """A signed-in browser. The key is a credential: pages and the audit name a session by its public `id`."""

    id = models.UUIDField(default=uuid.uuid4, editable=False, unique=True)
    user = models.ForeignKey(User, null=True, on_delete=models.CASCADE, related_name="sessions")
    started_at = models.DateTimeField(default=timezone.now, editable=False)
    seen_at = models.DateTimeField(default=timezone.now)
    address = models.CharField(max_length=64, blank=True)
    user_agent = models.CharField(max_length=200, blank=True)


class FactorKind(models.TextChoices):
    """What proves a person's presence beside their password."""

    TOTP = "totp", "Authenticator app"
    WEBAUTHN = "webauthn", "Security key"
    RECOVERY = "recovery", "Recovery code"


class SecondFactor(models.Model):
    """Something a person has. `sealed` is encrypted under the master key: a TOTP secret, a credential's public key, or
    a recovery code's hash. `counter` refuses replays: the last TOTP step used, or a key's signature counter."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="second_factors")
    kind = models.CharField(max_length=10, choices=FactorKind)
    name = models.CharField(max_length=100)
    sealed = models.BinaryField()
    credential_id = models.BinaryField(max_length=1024, null=True, unique=True)
    counter = models.BigIntegerField(default=0)
    confirmed_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    used_at = models.DateTimeField(null=True)


class Scope(models.TextChoices):
    """What a token may be used for."""

    CHAT = "chat", "Ask questions"
    SEARCH = "search", "Search and read"
    UPLOAD = "upload", "Add and change documents"
    AUDIT = "audit", "Read the audit"


def all_scopes() -> list[str]:
    """Every scope: what a token may do unless it is made for less."""
    return [str(scope) for scope in Scope]


class ApiToken(models.Model):
    """A bearer token of one person: shown once, kept as SHA-256 of 256 random bits, expiring, revocable.

    Never more than its person may do now: `scopes` and `collections` (ids, null for all) only take away.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, unique=True)
    token_hash = models.BinaryField(max_length=32, unique=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    used_at = models.DateTimeField(null=True)
    scopes = ArrayField(models.CharField(max_length=10, choices=Scope), default=all_scopes)
    collections = ArrayField(models.UUIDField(), null=True)

    def usable(self, *, now: datetime) -> bool:
        """Whether the token can be used at `now`."""
        return self.revoked_at is None and now < self.expires_at


class Allowance(models.Model):
    """How much of something a person or address has used up: `used_until` is when all of it is there again."""

    key = models.CharField(max_length=120, primary_key=True)
    used_until = models.DateTimeField(db_index=True)


class Decision(models.TextChoices):
    """How a request for approval ended."""

    APPROVED = "approved", "Approved"
    REFUSED = "refused", "Refused"
    WITHDRAWN = "withdrawn", "Withdrawn"


class Approval(models.Model):
    """A change that benefits the person who wants it, waiting for a second person. `kind` names who carries it out,
    `change` is what they are given; `summary` says it in words."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=30)
    change = models.JSONField()
    summary = models.CharField(max_length=500)
    requested_by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    requested_at = models.DateTimeField(default=timezone.now, editable=False)
    decided_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    decided_at = models.DateTimeField(null=True)
    decision = models.CharField(max_length=10, choices=Decision, blank=True)
    reason = models.TextField(blank=True)

    class Meta:
        indexes = [models.Index(fields=["requested_at"], name="approval_waiting", condition=Q(decision=""))]
