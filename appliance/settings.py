"""Django settings. Everything a site can change comes from the environment: see deploy/env.example."""

from __future__ import annotations

import base64
import binascii
from datetime import timedelta
from pathlib import Path

from appliance.accounts.directory import options as directory_options
from appliance.lib import env
from appliance.lib.env import SettingError

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env.text("APPLIANCE_DATA_DIR", str(BASE_DIR / "var"))).resolve()

DEBUG = False
SECRET_KEY = env.secret("APPLIANCE_SECRET_KEY")
ALLOWED_HOSTS = env.names("APPLIANCE_ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]")
ROOT_URLCONF = "appliance.urls"
ASGI_APPLICATION = "appliance.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The site -------------------------------------------------------------------------------------------------
APPLIANCE_NAME = env.text("APPLIANCE_NAME", "Reading Room")
APPLIANCE_ORGANISATION = env.text("APPLIANCE_ORGANISATION", "")
APPLIANCE_CLASSIFICATION = env.text("APPLIANCE_CLASSIFICATION", "Confidential: internal use only")
APPLIANCE_CLASSIFICATION_LEVEL = env.choice(
    "APPLIANCE_CLASSIFICATION_LEVEL", "confidential", ("public", "internal", "confidential", "restricted")
)
LANGUAGE_CODE = "en-gb"
TIME_ZONE = env.text("APPLIANCE_TIME_ZONE", "UTC")
USE_TZ = True

# Limits ---------------------------------------------------------------------------------------------------
MAX_UPLOAD_BYTES = env.integer("APPLIANCE_MAX_UPLOAD_BYTES", 100 * 1024 * 1024, minimum=1)
MAX_QUESTION_CHARS = env.integer("APPLIANCE_MAX_QUESTION_CHARS", 8_000, minimum=1)
PASSAGES_PER_ANSWER = env.integer("APPLIANCE_PASSAGES_PER_ANSWER", 8, minimum=1)
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024  # bodies that are not files
FILE_UPLOAD_TEMP_DIR: str | None = None
FILE_UPLOAD_HANDLERS = ["appliance.documents.uploads.LimitedUploadHandler"]

# Emergency access -----------------------------------------------------------------------------------------
BREAK_GLASS = env.boolean("APPLIANCE_BREAK_GLASS", False)
BREAK_GLASS_MINUTES = env.integer("APPLIANCE_BREAK_GLASS_MINUTES", 60, minimum=1)

# Sessions -------------------------------------------------------------------------------------------------
SESSION_IDLE_S = env.integer("APPLIANCE_SESSION_IDLE_S", 30 * 60, minimum=10)
SESSION_ABSOLUTE_S = env.integer("APPLIANCE_SESSION_ABSOLUTE_S", 12 * 3600, minimum=60)
SESSION_ENGINE = "appliance.accounts.session_store"
SESSION_COOKIE_AGE = SESSION_ABSOLUTE_S
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
SESSION_COOKIE_NAME = "reading_room_session"
SESSION_COOKIE_SAMESITE = "Strict"
SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_NAME = "reading_room_csrf"
CSRF_COOKIE_SAMESITE = "Strict"
CSRF_FAILURE_VIEW = "appliance.accounts.views.csrf_failure"
# TLS ends at the proxy in front; only then are cookies marked Secure and HSTS sent.
BEHIND_TLS = env.boolean("APPLIANCE_BEHIND_TLS", False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS else None
SECURE_HSTS_SECONDS = 31_536_000 if BEHIND_TLS else 0
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# Sensitive acts ask for the password again when it was given longer ago than this.
REAUTH_S = env.integer("APPLIANCE_REAUTH_S", 600, minimum=10)
SIGN_IN_BANNER = env.text("APPLIANCE_SIGN_IN_BANNER", "")
SECOND_FACTOR_ROLES = env.several(
    "APPLIANCE_SECOND_FACTOR_ROLES",
    ("staff", "contributor", "collection_manager", "compliance_officer", "content_approver", "administrator"),
)
# How often, per person (sign-in: per address) and minute; 0 is without limit.
CHAT_PER_MINUTE = env.integer("APPLIANCE_CHAT_PER_MINUTE", 120)
SEARCH_PER_MINUTE = env.integer("APPLIANCE_SEARCH_PER_MINUTE", 600)
SIGN_IN_PER_MINUTE = env.integer("APPLIANCE_SIGN_IN_PER_MINUTE", 300)
SECOND_FACTOR_PER_MINUTE = 5
# Wrong passwords after which a name, or an address, is locked for a while.
SIGN_IN_LIMIT = env.integer("APPLIANCE_SIGN_IN_LIMIT", 10, minimum=1)
SIGN_IN_ADDRESS_LIMIT = env.integer("APPLIANCE_SIGN_IN_ADDRESS_LIMIT", 100, minimum=1)
SIGN_IN_COOL_OFF_S = env.integer("APPLIANCE_SIGN_IN_COOL_OFF_S", 900, minimum=1)
AXES_HANDLER = "appliance.accounts.lockout.Handler"
AXES_FAILURE_LIMIT = SIGN_IN_LIMIT
AXES_COOLOFF_TIME = timedelta(seconds=SIGN_IN_COOL_OFF_S)
AXES_LOCKOUT_PARAMETERS = ["username", "ip_address"]
AXES_USERNAME_CALLABLE = "appliance.accounts.lockout.name_digest"
AXES_CLIENT_IP_CALLABLE = "appliance.accounts.lockout.address_of"
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # or a stranger could keep somebody out for ever
AXES_DISABLE_ACCESS_LOG = True  # the audit holds that
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
CSRF_TRUSTED_ORIGINS = env.names("APPLIANCE_TRUSTED_ORIGINS", "")

# The directory: None where accounts are local only -----------------------------------------------------------
DIRECTORY = directory_options.from_environment()

# Master key: wraps the key of each document ----------------------------------------------------------------
try:
    MASTER_KEY = base64.b64decode(env.secret("APPLIANCE_MASTER_KEY"), validate=True)
except binascii.Error:
    raise SettingError("APPLIANCE_MASTER_KEY: not base64.") from None
if len(MASTER_KEY) != 32:
    raise SettingError("APPLIANCE_MASTER_KEY: needs exactly 32 bytes, in base64.")

# Database --------------------------------------------------------------------------------------------------
# The pages sign in as the application's role, which row-level security shows what the person asking may see. Workers
# and commands have the workers' address too: they sign in with it, and become the application's role for a person.
# The owner's alias exists only where migrations run.
_POOL = {"min_size": 0, "max_size": env.integer("APPLIANCE_DATABASE_POOL", 16, minimum=2), "timeout": 10}
_application = env.database("APPLIANCE_DATABASE_URL")
_worker = env.given("APPLIANCE_DATABASE_WORKER_URL") and env.database("APPLIANCE_DATABASE_WORKER_URL")
_options = {"pool": _POOL, "connect_timeout": 5} | ({"person_role": _application["USER"]} if _worker else {})
DATABASE_PERSON_ROLE: str = _application["USER"]
DATABASE_WORKER_ROLE: str = (_worker or _application)["USER"]
DATABASES = {
    "default": (_worker or _application)
    | {"ENGINE": "appliance.lib.guarded", "OPTIONS": _options, "CONN_MAX_AGE": 0}
    | {"CONN_HEALTH_CHECKS": True}  # a connection that a restart of the database ended is not handed out
}
if env.given("APPLIANCE_DATABASE_OWNER_URL"):
    DATABASES["owner"] = env.database("APPLIANCE_DATABASE_OWNER_URL") | {"TEST": {"MIRROR": "default"}}

# The audit: how far the seal may be behind before nothing can be asked or changed any more ------------------
AUDIT_ORPHAN_AFTER_S = env.seconds("APPLIANCE_AUDIT_ORPHAN_AFTER_S", 3_600)
SEAL_READ_ONLY_AFTER_S = env.seconds("APPLIANCE_SEAL_READ_ONLY_AFTER_S", 600)
REVEAL_S = env.integer("APPLIANCE_REVEAL_S", 3600, minimum=60)
# What officers are told of without looking, and how often the rules look at what is new.
WORKING_HOURS = env.hours("APPLIANCE_WORKING_HOURS", "07:00-19:00")
WORKING_DAYS = env.weekdays("APPLIANCE_WORKING_DAYS", "mon-fri")
ALERT_EVERY_S = env.seconds("APPLIANCE_ALERT_EVERY_S", 60)
ALERT_BULK_DOCUMENTS = env.integer("APPLIANCE_ALERT_BULK_DOCUMENTS", 50, minimum=2)
ALERT_BULK_MINUTES = env.integer("APPLIANCE_ALERT_BULK_MINUTES", 10, minimum=1)
ALERT_REFUSALS = env.integer("APPLIANCE_ALERT_REFUSALS", 5, minimum=2)
ALERT_REFUSAL_MINUTES = env.integer("APPLIANCE_ALERT_REFUSAL_MINUTES", 10, minimum=1)
VERIFY_EVERY_S = env.seconds("APPLIANCE_VERIFY_EVERY_S", 3_600)

# Models, over HTTP -----------------------------------------------------------------------------------------
INFERENCE_URL = env.text("APPLIANCE_INFERENCE_URL", "http://127.0.0.1:8100").rstrip("/")
INFERENCE_KEY = env.secret("APPLIANCE_INFERENCE_KEY")
INFERENCE_CONNECT_TIMEOUT_S = env.seconds("APPLIANCE_INFERENCE_CONNECT_TIMEOUT_S", 3)
INFERENCE_SILENCE_TIMEOUT_S = env.seconds("APPLIANCE_INFERENCE_SILENCE_TIMEOUT_S", 120)
CHAT_MODEL = env.text("APPLIANCE_CHAT_MODEL", "")  # empty: the first the server lists
EMBEDDING_MODEL = env.text("APPLIANCE_EMBEDDING_MODEL", "all-minilm-l6-v2")

# Retrieval -------------------------------------------------------------------------------------------------
RERANKER = env.text("APPLIANCE_RERANKER", "")  # the cross-encoder's name at the model server; empty: none is asked
RERANKER_TIMEOUT_S = env.seconds("APPLIANCE_RERANKER_TIMEOUT_S", 10)
EXACT_SEARCH_LIMIT = env.integer("APPLIANCE_EXACT_SEARCH_LIMIT", 50_000, minimum=0)

# Celery: the broker carries ids only, state lives in PostgreSQL --------------------------------------------
CELERY_BROKER_URL = env.text("APPLIANCE_REDIS_URL", "redis://127.0.0.1:8379/0")
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_DEFAULT_QUEUE = "ingest"
CELERY_TASK_ROUTES = {
    "documents.ingest": {"queue": "ingest"},
    "documents.sweep": {"queue": "jobs"},
    "accounts.*": {"queue": "jobs"},
    "chat.*": {"queue": "jobs"},
    "ops.*": {"queue": "jobs"},
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 6 * 3600,
    "socket_connect_timeout": 2,
    "socket_timeout": 5,
}
CELERY_TASK_PUBLISH_RETRY = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
INGEST_LEASE_S = env.integer("APPLIANCE_INGEST_LEASE_S", 120, minimum=2)
INGEST_MAX_ATTEMPTS = env.integer("APPLIANCE_INGEST_MAX_ATTEMPTS", 3, minimum=1)
INGEST_RETRY_S = env.seconds("APPLIANCE_INGEST_RETRY_S", 10)
# Each file is read in a process of its own, within these; "eng+fra" reads pictures in both languages.
OCR_LANGUAGES = env.text("APPLIANCE_OCR_LANGUAGES", "eng")
READ_SILENCE_S = env.seconds("APPLIANCE_READ_SILENCE_S", 120)
READ_DEADLINE_S = env.seconds("APPLIANCE_READ_DEADLINE_S", 3_600)
READ_MEMORY_BYTES = env.integer("APPLIANCE_READ_MEMORY_BYTES", 1024 * 1024 * 1024, minimum=256 * 1024 * 1024)
# The virus scanner: None where there is none.
CLAMD = env.socket_address("APPLIANCE_CLAMD")
CLAMD_TIMEOUT_S = env.seconds("APPLIANCE_CLAMD_TIMEOUT_S", 300)
SWEEP_INTERVAL_S = env.seconds("APPLIANCE_SWEEP_INTERVAL_S", 15)
CELERY_BEAT_SCHEDULE = {
    "revive-ingest": {"task": "documents.sweep", "schedule": SWEEP_INTERVAL_S},
    "pulse": {"task": "ops.pulse", "schedule": 10.0},
    "close-answers": {"task": "chat.sweep", "schedule": SWEEP_INTERVAL_S},
    "close-intents": {"task": "ops.close_intents", "schedule": 300.0},
    "tidy-accounts": {"task": "accounts.tidy", "schedule": 3600.0},
    "watch-audit": {"task": "ops.watch_audit", "schedule": ALERT_EVERY_S},
    "verify-audit": {"task": "ops.verify_audit", "schedule": VERIFY_EVERY_S},
}
if DIRECTORY is not None:
    CELERY_BEAT_SCHEDULE["sync-directory"] = {
        "task": "accounts.sync_directory",
        "schedule": DIRECTORY.sync_interval_s,
    }

# Django's own parts ----------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.staticfiles",
    "axes",
    "ninja",
    "appliance.audit",
    "appliance.accounts",
    "appliance.documents",
    "appliance.chat",
    "appliance.api",
    "appliance.ops",
]
MIDDLEWARE = [
    "appliance.lib.request_id.RequestIdMiddleware",
    "appliance.lib.headers.SecurityHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "appliance.lib.failures.FailureMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "appliance.accounts.sessions.SessionLimitsMiddleware",
    "appliance.accounts.directory.grace.DirectoryGraceMiddleware",
    "appliance.accounts.sessions.PrincipalMiddleware",
    "appliance.audit.standing.SealMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "appliance.accounts.context.site",
                "appliance.documents.grants.context.access",
                "appliance.ops.audit.context.audit",
                "appliance.ops.audit_content.context.content",
            ],
            "builtins": ["appliance.accounts.templatetags.room"],
        },
    }
]
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
if DIRECTORY is not None:
    AUTHENTICATION_BACKENDS.insert(1, "appliance.accounts.directory.backend.DirectoryBackend")
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
LOGIN_URL = "/sign-in"
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
BLOB_DIR = DATA_DIR / "blobs"
UPLOAD_DIR = DATA_DIR / "uploads"

LOG_LEVEL = env.choice("APPLIANCE_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "appliance.lib.request_id.RequestIdFilter"}},
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request_id"]}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        "django_auth_ldap": {"level": "CRITICAL"},  # it names who tried; what went wrong is in our own log
    },
}
