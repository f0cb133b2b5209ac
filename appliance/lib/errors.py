"""Every refusal of the appliance, in one tree.

    ApplianceError
    ├── BadRequest                 400  bad_request and narrower codes: the caller can correct it
    │   ├── QuestionTooLong        413
    │   ├── UploadTooLarge         413
    │   └── UnsupportedType        415
    ├── SignInRefused              401  one message for every cause: no oracle
    ├── NotSignedIn                401
    ├── AccessEnded                403  a right was lost in the middle of an answer
    ├── NotFound                   404  missing and forbidden alike
    ├── Conflict                   409
    └── Unavailable                503  nothing was changed; trying again can help
        ├── DiskFull
        ├── AuditUnavailable            no record, no answer
        ├── DatabaseUnavailable
        ├── QueueUnavailable
        └── ModelUnavailable
            ├── ModelTimeout            slow, or silent in the middle of an answer
            ├── ModelBusy               its queue is full
            └── ModelRefused            it answered, with an error of its own

`code` is stable and public. `message` says what was refused and why, `hint` what to do next. `permanent` tells a
task whether trying again can ever help.
"""

from __future__ import annotations

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


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"
    default_message = "The database is not answering."


class QueueUnavailable(Unavailable):
    code = "queue_unavailable"
    default_message = "The work queue is not answering."
    default_hint = "The file is kept and will be read when the queue is back."


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
