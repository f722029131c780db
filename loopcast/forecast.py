"""The forecast contract: the JSON that every model behind an endpoint reads and answers.

It is the built-in DeepAR algorithm's: a request `{"instances": [...], "configuration": {...}}`, an answer
`{"predictions": [{"quantiles": {"0.5": [...]}, "mean": [...], "samples": [[...]]}]}`; in a batch transform, one
instance a line in and one prediction a line out, with the configuration in the environment as DEEPAR_INFERENCE_CONFIG.
A missing value is null or "NaN".
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

OutputType = Literal["mean", "quantiles", "samples"]
INFERENCE_CONFIG = "DEEPAR_INFERENCE_CONFIG"


def _missing(value: object) -> object:
    return float("nan") if value is None or value == "NaN" else value


Number = Annotated[float, BeforeValidator(_missing)]


class Instance(BaseModel):
    """One series: its past `target`, a number a step from `start` on; `dynamic_feat` reaches over the horizon too."""

    model_config = ConfigDict(extra="ignore")
    start: datetime
    target: list[Number]
    cat: list[int] | int | None = None
    dynamic_feat: list[list[Number]] | None = None


class Configuration(BaseModel):
    """What is asked for; `quantiles` are decimals as text."""

    model_config = ConfigDict(extra="ignore")
    num_samples: Annotated[int, Field(gt=0, le=10_000)] = 100
    output_types: list[OutputType] = ["mean", "quantiles"]
    quantiles: list[str] = ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9"]

    @field_validator("quantiles")
    @classmethod
    def _levels(cls, values: list[str]) -> list[str]:
        for value in values:
            if not 0 < float(value) < 1:
                raise ValueError(f"a quantile lies between 0 and 1, not {value}")
        return values


class Request(BaseModel):
    """The body of InvokeEndpoint."""

    instances: list[Instance]
    configuration: Configuration = Configuration()


class Prediction(BaseModel):
    """What the model says of one instance; each list has a number a step of the horizon."""

    mean: list[float] | None = None
    quantiles: dict[str, list[float]] | None = None
    samples: list[list[float]] | None = None


class Answer(BaseModel):
    predictions: list[Prediction]


def configuration(quantiles: list[float], num_samples: int = 200) -> Configuration:
    """A configuration that asks for the mean and `quantiles`."""
    return Configuration(num_samples=num_samples, quantiles=[f"{q:g}" for q in quantiles])
