"""The hyperparameters of the built-in DeepAR algorithm, with its ranges and defaults; and `seed`, which is ours.

They come as text, lists as JSON; pydantic reads numbers from text by itself.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt

from forecasters.contract import Hyperparameters, list_from_json
from forecasters.evaluation import DEFAULT_QUANTILES, Quantiles
from forecasters.frequency import TimeFrequency

Likelihood = Literal["gaussian", "beta", "negative-binomial", "student-T", "deterministic-L1"]
Objective = Literal["", "train:final_loss", "test:RMSE", "test:mean_wQuantileLoss"]


def _in_its_own_case(text: object) -> object:
    """The built-in algorithm takes `student-t` for `student-T`."""
    names = {"student-t": "student-T", "deterministic-l1": "deterministic-L1"}
    return names.get(text.lower(), text) if isinstance(text, str) else text


Cardinality = (
    Literal["auto", "ignore", ""] | Annotated[list[PositiveInt], Field(min_length=1), BeforeValidator(list_from_json)]
)


class DeepARHyperparameters(Hyperparameters):
    """In the order of the built-in algorithm's documentation, the required ones first."""

    context_length: PositiveInt
    epochs: PositiveInt
    prediction_length: PositiveInt
    time_freq: TimeFrequency
    cardinality: Cardinality = "auto"
    dropout_rate: Annotated[float, Field(ge=0, lt=1)] = 0.1
    early_stopping_patience: PositiveInt | None = None
    embedding_dimension: PositiveInt = 10
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    likelihood: Annotated[Likelihood, BeforeValidator(_in_its_own_case)] = "student-T"
    mini_batch_size: PositiveInt = 128
    num_cells: PositiveInt = 40
    num_dynamic_feat: Literal["auto", "ignore", ""] | PositiveInt = "auto"
    num_eval_samples: PositiveInt = 100
    num_layers: PositiveInt = 2
    test_quantiles: Quantiles = DEFAULT_QUANTILES
    tuning_objective_metric: Annotated[Objective, Field(alias="_tuning_objective_metric")] = ""
    seed: NonNegativeInt = 0
