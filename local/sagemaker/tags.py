"""AddTags, ListTags and DeleteTags, of any resource by its ARN."""

from __future__ import annotations

from local.sagemaker.context import Context
from local.sagemaker.errors import ValidationException
from local.sagemaker.registry import Json, operation


@operation("AddTags")
def add_tags(context: Context, request: Json) -> Json:
    arn = _known(context, request)
    context.store.set_tags(arn, request["Tags"])
    return {"Tags": context.store.tags(arn)}


@operation("ListTags")
def list_tags(context: Context, request: Json) -> Json:
    return {"Tags": context.store.tags(_known(context, request))}


@operation("DeleteTags")
def delete_tags(context: Context, request: Json) -> Json:
    context.store.delete_tags(_known(context, request), request["TagKeys"])
    return {}


def _known(context: Context, request: Json) -> str:
    """The request's ARN. Raises `ValidationException` when there is no such resource."""
    arn: str = request["ResourceArn"]
    kind, _, name = arn.rpartition(":")[2].partition("/")
    if context.store.get(kind, name) is None or arn != Context.arn(kind, name):
        raise ValidationException(f"Could not find a resource with ARN: {arn}")
    return arn
