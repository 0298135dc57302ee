"""Errors of serving, each at its arrow; `service/api/problems.py` is the only table that turns them into HTTP.

    request --(whose?)--(room?)--> body --(whole? small enough?)--> form --(fields valid?)--> decode   imaging.errors
      HeadTimeout      TooBusy          UploadTooLarge UploadTimeout      InvalidField          |
      HeadTooLarge     NotReady         MalformedUpload                                         v
      MalformedRequest NotAcceptable    NotMultipart                                     Image, model ref
      UnknownCoding                                                                             |
      HostNotAllowed                                                                            |
      KeyRequired                                                                               |
      ScopeRequired                                                                             |
      ForeignOrigin                                                                             |
                                                                                                |
    answer <--(rules)-- derive <--(finite? shape?)-- restore <--(turn, deadline)-- queue <------+ model_store.errors
            RuleViolated  DerivationRefused  ModelFailed       DeadlinePassed         UnitMismatch
                                                               TooBusy, ClientLeft    NoSuchOutput

Messages are complete sentences for the person who sent the request; they hold no patient data and no file names.
"""

from __future__ import annotations


class ServiceError(Exception):
    """Base of every expected failure in `service`."""


class UnsafeConfiguration(ServiceError):
    """Settings that would expose the service, or break a promise it makes; it does not start."""


class InvalidConfiguration(UnsafeConfiguration):
    """pacs.toml cannot be read, or something in it is wrong."""


class InvalidKeysFile(UnsafeConfiguration):
    """The file of API keys cannot be read or has a mistake. Repeats nothing that the file holds."""


class HeadTimeout(ServiceError):
    """The request's headers did not arrive in time."""


class HeadTooLarge(ServiceError):
    """Headers, trailers or the size of a chunk have more bytes than are read."""


class UnknownCoding(ServiceError):
    """The request's Transfer-Encoding is not read here."""


class MalformedRequest(ServiceError):
    """What came is no HTTP: nothing of it can be trusted, not even where it ends."""


class HostNotAllowed(ServiceError):
    """The request was sent to a name that this server does not answer to."""


class KeyRequired(ServiceError):
    """The request has no API key, or one that is not valid.

    Attributes:
        challenge: the WWW-Authenticate header (RFC 6750).
    """

    def __init__(self, message: str, *, challenge: str) -> None:
        super().__init__(message)
        self.challenge = challenge


class ScopeRequired(ServiceError):
    """The API key is valid and not meant for this call.

    Attributes:
        challenge: the WWW-Authenticate header (RFC 6750).
    """

    def __init__(self, message: str, *, challenge: str) -> None:
        super().__init__(message)
        self.challenge = challenge


class ForeignOrigin(ServiceError):
    """A web page of another site sent the request through somebody's browser."""


class MalformedUpload(ServiceError):
    """The request body is no complete multipart form, or holds the wrong parts."""


class MalformedInference(ServiceError):
    """A request of the inference protocol that does not follow it, or asks for what no model here does."""


class NotMultipart(ServiceError):
    """The request body is of a type or a content encoding that is not read here."""


class UploadTooLarge(ServiceError):
    """The request body has more bytes than the settings allow.

    Attributes:
        setting: the environment variable that holds the limit, or empty.
    """

    def __init__(self, message: str, *, setting: str) -> None:
        super().__init__(message)
        self.setting = setting


class UploadTimeout(ServiceError):
    """The client sent its body too slowly."""


class InvalidField(ServiceError):
    """Form fields or headers with impossible values.

    Attributes:
        fields: field name -> what is wrong with it.
    """

    def __init__(self, message: str, *, fields: dict[str, str]) -> None:
        super().__init__(message)
        self.fields = fields


class NotAcceptable(ServiceError):
    """No representation of the answer satisfies the Accept header.

    Attributes:
        available: the media types that the answer could have.
    """

    def __init__(self, message: str, *, available: tuple[str, ...]) -> None:
        super().__init__(message)
        self.available = available


class UnitMismatch(ServiceError):
    """The image's unit is not the one that the model takes.

    Attributes:
        missing_fields: form fields that would give the image its unit.
        models: refs of models that take the image as it is.
    """

    def __init__(self, message: str, *, missing_fields: tuple[str, ...] = (), models: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.missing_fields = missing_fields
        self.models = models


class NoSuchOutput(ServiceError):
    """The model does not give an output that was asked for.

    Attributes:
        models: names of models that do.
    """

    def __init__(self, message: str, *, models: tuple[str, ...]) -> None:
        super().__init__(message)
        self.models = models


class TooBusy(ServiceError):
    """There is no place for it, or none in time.

    Attributes:
        retry_after: seconds after which a place is likely.
    """

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotReady(ServiceError):
    """The service is starting or draining, or the model cannot be loaded.

    Attributes:
        retry_after: seconds after which a new try is sensible.
    """

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlinePassed(ServiceError):
    """The request's deadline passed before its answer was there."""


class ClientLeft(ServiceError):
    """The client closed the connection; its work was dropped and nothing is answered."""


class NoSuchJob(ServiceError):
    """There is no job with that id, or it is another client's."""


class NotFinished(ServiceError):
    """The result of a job was asked for that has none, yet or for good.

    Attributes:
        retry_after: seconds after which to ask again; 0 where that would be useless.
    """

    def __init__(self, message: str, *, retry_after: int = 0) -> None:
        super().__init__(message)
        if retry_after:
            self.retry_after = retry_after


class GivenUp(ServiceError):
    """The process ended so often while it did a job that it is not tried again."""


class KeyReused(ServiceError):
    """An Idempotency-Key came before, with another request."""


class NoSpool(ServiceError):
    """No folder was set in which jobs could be kept."""


class SpoolFull(ServiceError):
    """The disk of the spool has no room for another job.

    Attributes:
        retry_after: seconds after which a job may have ended or expired.
    """

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DerivationRefused(ServiceError):
    """A DICOM instance from which no derived instance is made, by policy."""


class ModelFailed(ServiceError):
    """The model answered with something that must not be delivered: wrong shape, NaN or infinite values."""


class RuleViolated(ServiceError):
    """A derived instance that breaks one of our own rules: a defect of this program, never delivered.

    Attributes:
        findings: the violated rules.
    """

    def __init__(self, message: str, *, findings: tuple[str, ...]) -> None:
        super().__init__(message)
        self.findings = findings
