"""Fits the network, in epochs as the built-in algorithm counts them, and prints its progress lines."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy

import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim.adam import adam  # the function: the class imports torch's compiler, which takes seconds

from forecasters.contract import ClientError
from forecasters.deepar.hyperparameters import DeepARHyperparameters
from forecasters.deepar.lean_gluonts import DeepARModel
from forecasters.deepar.panel import Panel
from forecasters.hosts import Hosts

MIN_BATCHES = 10
"""An epoch of the built-in algorithm sees one window of each series, but at least this many mini-batches."""
GRADIENT_LIMIT = 10.0


def fit(network: DeepARModel, panel: Panel, hyperparameters: DeepARHyperparameters, hosts: Hosts) -> float:
    """Leaves `network` with the weights of its best epoch, and returns that epoch's mean loss.

    Hosts that fit together begin with the same network, and end with the same.

    Stops early after `early_stopping_patience` epochs without a lower loss. Raises `ClientError` where no series is
    long enough, or where the loss does not stay finite.
    """
    sampler = WindowSampler(panel, hyperparameters.mini_batch_size)
    step = _Adam(network, hyperparameters.learning_rate, hosts)
    best, best_epoch, weights = math.inf, 0, network.state_dict()
    for epoch in range(hyperparameters.epochs):
        loss = _epoch(network, sampler, step, hosts)
        if hosts.leads:
            _print_progress(epoch, loss, hyperparameters.epochs)
        if loss < best:
            best, best_epoch, weights = loss, epoch, deepcopy(network.state_dict())
        if hyperparameters.early_stopping_patience and epoch - best_epoch >= hyperparameters.early_stopping_patience:
            print(f"Early stopping: no lower loss since epoch {best_epoch}", flush=True)
            break
    network.load_state_dict(weights)
    if hosts.leads:
        print(f"#quality_metric: host=algo-1, train final_loss <loss>={best}", flush=True)
    return best


class WindowSampler:
    """Draws training windows: a series, each as likely, and a step of it whose horizon is within it."""

    def __init__(self, panel: Panel, batch_size: int) -> None:
        self._panel, self._batch_size = panel, batch_size
        last = panel.steps - panel.horizon
        self._series = torch.nonzero(last >= 1).flatten()
        if not len(self._series):
            raise ClientError(
                f"no series of the train channel is longer than prediction_length ({panel.horizon}): "
                "give more history or forecast fewer steps"
            )
        self._last = last
        self._earliest = last.clamp(max=panel.context)
        self.batches = max(MIN_BATCHES, math.ceil(len(self._series) / batch_size))

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """The batches of one epoch."""
        for _ in range(self.batches):
            series = self._series[torch.randint(len(self._series), (self._batch_size,))]
            earliest, last = self._earliest[series], self._last[series]
            at = earliest + (torch.rand(self._batch_size) * (last - earliest + 1)).long()
            yield self._panel.windows(series, at) | self._panel.futures(series, at)


class _Adam:
    """Adam over a network's parameters, with the gradient's mean over the hosts."""

    def __init__(self, network: DeepARModel, learning_rate: float, hosts: Hosts) -> None:
        self._hosts = hosts
        self._parameters = list(network.parameters())
        self._learning_rate = learning_rate
        self._means = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._steps = [torch.tensor(0.0) for _ in self._parameters]

    def __call__(self, loss: torch.Tensor) -> None:
        gradients = torch.autograd.grad(loss, self._parameters)
        self._hosts.average(gradients)
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        clip_grad_norm_(self._parameters, GRADIENT_LIMIT)
        with torch.no_grad():
            adam(
                self._parameters,
                [parameter.grad for parameter in self._parameters],
                self._means,
                self._squares,
                [],
                self._steps,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=self._learning_rate,
                weight_decay=0.0,
                eps=1e-8,
                maximize=False,
            )


def _epoch(network: DeepARModel, sampler: WindowSampler, step: _Adam, hosts: Hosts) -> float:
    """The mean loss over all batches of all hosts."""
    network.train()
    losses = []
    for batch in sampler:
        loss = network.loss(**batch).mean()
        step(loss)
        losses.append(loss.item())
    total = torch.tensor([sum(losses) / len(losses)], dtype=torch.float64)
    hosts.average([total])
    mean = float(total)
    if not math.isfinite(mean):
        raise ClientError("the training loss is not finite: lower learning_rate or choose another likelihood")
    return mean


def _print_progress(epoch: int, loss: float, epochs: int) -> None:
    print(f"#progress_metric: host=algo-1, completed {100 * (epoch + 1) / epochs:.1f} % of epochs")
    print(f"#quality_metric: host=algo-1, epoch={epoch}, train loss <loss>={loss}", flush=True)
