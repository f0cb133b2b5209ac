"""Every refusal of the appliance, in one tree.

    ApplianceError
    ├── BadRequest                 400  bad_request and narrower codes: the caller can correct it
    │   ├── QuestionTooLong        413
    │   ├── UploadTooLarge         413
    │   └── UnsupportedType        415
    ├── SignInRefused              401  one message for every cause: no oracle
    │   └── SignInLocked           429  too many tries, whether or not there is such a person
    ├── NotSignedIn                401
    ├── ReauthenticationNeeded     403  a sensitive act asks for the password again
    ├── SecondFactorRequired       403
    ├── ScopeMissing               403  a token that was not made for this
    ├── RateLimited                429
    ├── AccessEnded                403  a right was lost in the middle of an answer
    ├── NotFound                   404  missing and forbidden alike
    ├── Conflict                   409
    └── Unavailable                503  nothing was changed; trying again can help
        ├── DiskFull
        ├── AuditUnavailable            no record, no answer
        ├── AuditUnsealed               reading only, until the sealer has caught up
        ├── DatabaseUnavailable
        ├── QueueUnavailable
        ├── DirectoryUnavailable        passwords of directory accounts cannot be checked
        └── ModelUnavailable
            ├── ModelTimeout            slow, or silent in the middle of an answer
            ├── ModelBusy               its queue is full
            └── ModelRefused            it answered, with an error of its own

`code` is stable and public. `message` says what was refused and why, `hint` what to do next. `permanent` tells a
task whether trying again can ever help.
"""

from __future__ import annotations

import math
from typing import ClassVar


class ApplianceError(Exception):
    """Base of every error a person or a program may be shown. Never raised itself."""

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500
    permanent: ClassVar[bool] = True
    default_message: ClassVar[str] = "The request could not be completed."
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str = "", *, hint: str = "", code: str = "") -> None:
        self.message = message or self.default_message
        self.hint = hint or self.default_hint
        self.public_code = code or self.code
        super().__init__(self.message)

    def as_dict(self) -> dict[str, str]:
        """The error as REST shows it: code, message, hint."""
        return {"code": self.public_code, "message": self.message, "hint": self.hint}


class BadRequest(ApplianceError):
    code = "bad_request"
    http_status = 400
    default_message = "The request could not be understood."


class QuestionTooLong(BadRequest):
    code = "question_too_long"
    http_status = 413
    default_hint = "Shorten the question, or put long material in a document and ask about that."


class UploadTooLarge(BadRequest):
    code = "upload_too_large"
    http_status = 413
    default_hint = "Split the file, or ask an administrator to raise the limit."


class UnsupportedType(BadRequest):
    code = "unsupported_type"
    http_status = 415


class SignInRefused(ApplianceError):
    code = "sign_in_refused"
    http_status = 401
    default_message = "That user name and password don’t match."
    default_hint = "Check both and try again."


class RateLimited(ApplianceError):
    """More than a person or address may do in a while. `retry_after_s` is when it is worth trying again."""

    code = "rate_limited"
    http_status = 429
    permanent = False
    default_message = "That is more than one person may ask in so short a time."

    def __init__(self, message: str = "", *, retry_after_s: float, hint: str = "", code: str = "") -> None:
        self.retry_after_s = max(1, math.ceil(retry_after_s))
        super().__init__(message, hint=hint or f"Try again in {in_words(self.retry_after_s)}.", code=code)


class SignInLocked(SignInRefused):
    """Said after so many tries for any name, also for one that nobody has, and whatever the password is."""

    code = "sign_in_locked"
    http_status = 429
    default_message = "There were too many tries to sign in."

    def __init__(self, *, retry_after_s: float) -> None:
        self.retry_after_s = max(1, math.ceil(retry_after_s))
        super().__init__(hint=f"Try again in {in_words(self.retry_after_s)}, or ask an administrator.")


def in_words(seconds: int) -> str:
    """A wait as people say it: 1 second, 40 seconds, 15 minutes."""
    amount, unit = (seconds, "second") if seconds < 120 else (math.ceil(seconds / 60), "minute")
    return f"{amount} {unit}{'' if amount == 1 else 's'}"


class ReauthenticationNeeded(ApplianceError):
    code = "reauthentication_needed"
    http_status = 403
    default_message = "This needs your password again."
    default_hint = "Enter it on the page, then repeat the request."


class SecondFactorRequired(ApplianceError):
    code = "second_factor_required"
    http_status = 403
    default_message = "Your role needs a second factor, and you have none yet."
    default_hint = "Set one up on the page Sign-in security."


class ScopeMissing(ApplianceError):
    code = "scope_missing"
    http_status = 403
    default_message = "This token was not made for that."
    default_hint = "Use a token with the scope it needs."


class NotSignedIn(ApplianceError):
    code = "not_signed_in"
    http_status = 401
    default_message = "You are not signed in, or your session has ended."
    default_hint = "Sign in again, or send a valid token."


class AccessEnded(ApplianceError):
    """The reader lost the right to something an answer rests on. What the model would write next is not shown."""

    code = "access_ended"
    http_status = 403
    default_message = "Your access changed while this answer was being written, so it was stopped."
    default_hint = "Ask again: the answer will then use what you may see now."


class NotFound(ApplianceError):
    code = "not_found"
    http_status = 404
    default_message = "There is nothing here that you can open."
    default_hint = "Check the address. If you expected to see it, ask the owner of the collection."


class Conflict(ApplianceError):
    code = "conflict"
    http_status = 409
    default_message = "That is already there."


class Unavailable(ApplianceError):
    code = "unavailable"
    http_status = 503
    permanent = False
    default_message = "A part of the appliance is not answering."
    default_hint = "Nothing was changed. Try again in a minute."


class DiskFull(Unavailable):
    code = "disk_full"
    default_message = "The disk is full."
    default_hint = "Nothing was stored. Tell an administrator, and send it again when there is room."


class AuditUnavailable(Unavailable):
    code = "audit_unavailable"
    default_message = "The audit record could not be written, so nothing was searched or shown."
    default_hint = "Your question is kept. Try again in a minute, or tell an administrator."


class AuditUnsealed(Unavailable):
    code = "audit_unsealed"
    default_message = "The audit has not been sealed for too long, so nothing can be asked or changed."
    default_hint = "What is there can still be read. Tell an administrator: the sealer has to run again."


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"
    default_message = "The database is not answering."


class QueueUnavailable(Unavailable):
    code = "queue_unavailable"
    default_message = "The work queue is not answering."
    default_hint = "The file is kept and will be read when the queue is back."


class DirectoryUnavailable(Unavailable):
    """The directory did not answer, or could not be trusted. `cause` says why, for administrators."""

    code = "directory_unavailable"
    default_message = "The staff directory is not answering, so your password could not be checked."
    default_hint = "It may well be right. Try again in a few minutes, or tell an administrator."

    def __init__(self, cause: str = "The directory does not answer.") -> None:
        super().__init__()
        self.cause = cause


class ModelUnavailable(Unavailable):
    code = "model_unavailable"
    default_message = "The model server is not answering."
    default_hint = "Your question is kept. Try again in a minute."


class ModelTimeout(ModelUnavailable):
    code = "model_timeout"
    default_message = "The model server stopped answering before it was finished."


class ModelBusy(ModelUnavailable):
    code = "model_busy"
    default_message = "The model server has too many questions waiting."


class ModelRefused(ModelUnavailable):
    code = "model_refused"
    default_message = "The model server could not process this request."
    default_hint = "Your question is kept. Tell an administrator if it happens again."
