"""The errors that SageMaker answers with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ServiceError(Exception):
    """An answer other than success: AWS's `code`, an HTTP `status`, and what else the error's shape carries."""

    code = "InternalFailure"
    status = 500

    def __init__(self, message: str, *, code: str | None = None, **fields: Any) -> None:
        super().__init__(message)
        self.code = code or self.code
        self.fields: Mapping[str, Any] = fields


class ValidationException(ServiceError):
    code = "ValidationException"
    status = 400


class ResourceNotFound(ServiceError):
    code = "ResourceNotFound"
    status = 400


class ResourceInUse(ServiceError):
    code = "ResourceInUse"
    status = 400


class ResourceLimitExceeded(ServiceError):
    code = "ResourceLimitExceeded"
    status = 400


class ConflictException(ServiceError):
    code = "ConflictException"
    status = 400


class UnknownOperation(ServiceError):
    code = "UnknownOperationException"
    status = 404


class NotImplementedHere(ServiceError):
    code = "NotImplementedException"
    status = 501
