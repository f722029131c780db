"""Registers models in the feed's model package group, once a run."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from components.run import Run
from loopcast import aws

_log = logging.getLogger(__name__)
_LONGEST_VALUE = 256
_LONGEST_REASON = 1024


def register(
    run: Run,
    trained: Mapping[str, Mapping[str, Any]],
    evaluation: Mapping[str, Any],
    verdict: Mapping[str, Any],
    performance: Mapping[str, str],
    commit: str,
) -> list[dict[str, Any]]:
    """The packages of this run: role, algorithm, ARN, status and reasons of each model that the verdict names.

    `performance` has the folder of a role's statistics.json, constraints.json and baseline.json. A package that this
    run has registered before is kept as it is, whatever its approval is by now.
    """
    packages = []
    for entry in verdict["register"]:
        role = entry["role"]
        request = _request(run, entry, trained[role], evaluation, performance[role], commit)
        arn = _registered(run, request["ModelPackageDescription"]) or _create(request, entry["reasons"])
        packages.append({**entry, "algorithm": role, "arn": arn})
    return packages


def _registered(run: Run, description: str) -> str | None:
    pages = (
        aws.client("sagemaker")
        .get_paginator("list_model_packages")
        .paginate(ModelPackageGroupName=run.names.model_package_group, SortBy="CreationTime", SortOrder="Descending")
    )
    summaries = (summary for page in pages for summary in page["ModelPackageSummaryList"])
    return next((s["ModelPackageArn"] for s in summaries if s.get("ModelPackageDescription") == description), None)


def _create(request: Mapping[str, Any], reasons: Sequence[str]) -> str:
    sagemaker, status = aws.client("sagemaker"), request["ModelApprovalStatus"]
    arn = str(sagemaker.create_model_package(**request)["ModelPackageArn"])
    if reasons:
        why = " ".join(reasons)[:_LONGEST_REASON]
        sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus=status, ApprovalDescription=why)
    _log.info("registered %s as %s", arn, status)
    return arn


def _request(
    run: Run,
    entry: Mapping[str, Any],
    trained: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    folder: str,
    commit: str,
) -> dict[str, Any]:
    role = entry["role"]
    return {
        "ModelPackageGroupName": run.names.model_package_group,
        "ModelPackageDescription": f"{trained['algorithm']} of run {run.id}",
        "ModelApprovalStatus": entry["status"],
        "ClientToken": hashlib.sha256(f"{run.names.prefix} {run.id} {role}".encode()).hexdigest()[:36],
        "InferenceSpecification": {
            "Containers": [{"Image": trained["image"], "ModelDataUrl": trained["model_data"]}],
            "SupportedContentTypes": ["application/json", "application/jsonlines"],
            "SupportedResponseMIMETypes": ["application/json", "application/jsonlines"],
        },
        "ModelMetrics": {
            "ModelQuality": {
                "Statistics": {"ContentType": "application/json", "S3Uri": f"{folder}/statistics.json"},
                "Constraints": {"ContentType": "application/json", "S3Uri": f"{folder}/constraints.json"},
            },
            "ModelDataQuality": {
                "Statistics": {"ContentType": "application/json", "S3Uri": f"{folder}/baseline.json"},
            },
        },
        "CustomerMetadataProperties": lineage(run.id, role, trained, evaluation, commit),
    }


def lineage(
    run_id: str, role: str, trained: Mapping[str, Any], evaluation: Mapping[str, Any], commit: str
) -> dict[str, str]:
    """Where a model comes from and how it did, as text; what is not known is left out."""
    scores, history = evaluation["scores"], evaluation["history"]
    best, champion = evaluation["best_baseline"], evaluation["champion"]
    known = {
        "feed": evaluation["feed"],
        "run_id": run_id,
        "algorithm": trained["algorithm"],
        "training_job": trained["job"],
        "data_start": history["start"],
        "data_end": history["end"],
        "training_minutes": history["training_minutes"],
        "git_commit": commit,
        "loss": scores[role]["loss"],
        "best_baseline": best,
        "best_baseline_loss": scores[best]["loss"],
        "champion": champion,
        "champion_loss": scores[champion]["loss"] if champion else None,
        "p_value": evaluation["against_champion"].get(role, {}).get("p_value"),
    }
    return {key: str(value)[:_LONGEST_VALUE] for key, value in known.items() if value not in {None, ""}}
