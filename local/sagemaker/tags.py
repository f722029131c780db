"""AddTags, ListTags and DeleteTags, of any resource by its ARN."""

from __future__ import annotations

from local.sagemaker.context import Context
from local.sagemaker.registry import Json, operation


@operation("AddTags")
def add_tags(context: Context, request: Json) -> Json:
    context.store.set_tags(request["ResourceArn"], request["Tags"])
    return {"Tags": context.store.tags(request["ResourceArn"])}


@operation("ListTags")
def list_tags(context: Context, request: Json) -> Json:
    return {"Tags": context.store.tags(request["ResourceArn"])}


@operation("DeleteTags")
def delete_tags(context: Context, request: Json) -> Json:
    context.store.delete_tags(request["ResourceArn"], request["TagKeys"])
    return {}
