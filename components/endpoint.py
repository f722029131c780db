"""Asks a stage's endpoint for a forecast."""

from __future__ import annotations

import json

from components.history import CONTEXT, History
from loopcast import aws
from loopcast.feed import Feed
from loopcast.forecast import Answer, Prediction, configuration
from loopcast.names import Names


def invoke(feed: Feed, names: Names, stage: str, history: History, variant: str = "") -> Prediction:
    """The prediction of the stage's endpoint for the minutes after `history`, at the feed's quantiles.

    It comes from `variant`, or from whichever has its turn.
    """
    body = {
        "instances": [history.last(CONTEXT).to_instance()],
        "configuration": configuration(feed.forecast.quantiles).model_dump(),
    }
    answer = aws.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=names.endpoint(stage),
        ContentType="application/json",
        Accept="application/json",
        Body=json.dumps(body).encode(),
        **({"TargetVariant": variant} if variant else {}),
    )
    return Answer.model_validate_json(answer["Body"].read()).predictions[0]
