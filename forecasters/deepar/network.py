"""The network: GluonTS's DeepAR."""

from __future__ import annotations

import torch

from forecasters.deepar.hyperparameters import DeepARHyperparameters
from forecasters.deepar.layout import Layout
from forecasters.deepar.lean_gluonts import DeepARModel
from forecasters.deepar.likelihoods import LIKELIHOODS

THREADS = 1
"""A second thread gains little on a network this small, and on busy cores the two wait for each other for minutes. A
fixed count also keeps results the same on every machine: sums in another order round differently."""


def build(hyperparameters: DeepARHyperparameters, layout: Layout) -> DeepARModel:
    """An untrained network; its weights come from torch's generator."""
    torch.set_num_threads(THREADS)
    return DeepARModel(
        freq=hyperparameters.time_freq,
        context_length=hyperparameters.context_length,
        prediction_length=hyperparameters.prediction_length,
        num_feat_dynamic_real=max(len(layout.time_features) + layout.num_dynamic_feat, 1),
        num_feat_static_cat=max(len(layout.cardinality), 1),
        cardinality=layout.cardinality or [1],
        embedding_dimension=[hyperparameters.embedding_dimension] * len(layout.cardinality) or [1],
        num_layers=hyperparameters.num_layers,
        hidden_size=hyperparameters.num_cells,
        # Between layers only: torch warns where there is one.
        dropout_rate=hyperparameters.dropout_rate if hyperparameters.num_layers > 1 else 0.0,
        distr_output=LIKELIHOODS[hyperparameters.likelihood](),
        lags_seq=layout.lags,
        scaling=hyperparameters.likelihood != "beta",
        default_scale=layout.default_scale,
    )
