"""Builds Loopcast's images and installs it on a cluster: `python -m install images|up|down|status`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from pyhelm3 import Client

from install import helm, images, values
from install.builders import NoBuilder, find_builder
from install.cluster import Cluster, ClusterFailed
from install.down import down
from install.up import CHART, InstallFailed, Release, status, up
from loopcast.feed import FeedError, load_feed

INTERRUPTED = 130


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m install", description=(__doc__ or "").partition(":")[0] + ".")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_images(commands.add_parser("images", help="build the images"))
    _add_up(commands.add_parser("up", help="install on the cluster of KUBECONFIG, or upgrade"))
    _add_down(commands.add_parser("down", help="uninstall, and leave nothing"))
    _add_status(commands.add_parser("status", help="show how each part is"))
    arguments = parser.parse_args()
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED


def _add_images(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Builds the images with docker, podman or buildah. pip's index, certificates and proxies are those of the "
        "environment: PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_TRUSTED_HOST, PIP_CERT, http_proxy and its like."
    )
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help=f"which images (default: all: {', '.join(images.DOCKERFILES)})")
    add(
        "--builder",
        default="",
        help="docker, podman or buildah, with its own options if need be, as one word: 'buildah --storage-driver vfs' "
        "(default: the first that works)",
    )
    add(
        "--build-options", default="", help="more options of the builder's build command, as one word: '--network host'"
    )
    add("--base", default="", help="the image to begin with, Debian 12 (default: the Dockerfiles': debian, slim)")
    add("--registry", default="", help="goes before the names: REGISTRY/loopcast/ingestion (default: none)")
    add("--tag", default=images.version(), help="(default: %(default)s, the project's version)")
    add("--feed", type=Path, metavar="FILE", help="also name the images that this feed's jobs ask SageMaker for")
    add("--push", action="store_true", help="push each to its registry")
    add(
        "--archive", type=Path, metavar="DIR", help="leave each in this folder as a docker archive, to import elsewhere"
    )
    parser.set_defaults(run=build_images)


def build_images(arguments: argparse.Namespace) -> int:
    """`python -m install images`: 0 when all were built, 1 when one was not, 2 when nothing could be tried."""
    names = arguments.names or list(images.DOCKERFILES)
    unknown = sorted(set(names) - set(images.DOCKERFILES))
    if unknown:
        return _refuse(f"there is no image {', '.join(unknown)}: there are {', '.join(images.DOCKERFILES)}")
    if arguments.push and not arguments.registry:
        return _refuse("give the registry to push to with --registry")
    try:
        feed = load_feed(arguments.feed).name if arguments.feed else ""
        builder = find_builder(arguments.builder, arguments.build_options)
    except (NoBuilder, FeedError) as error:
        return _refuse(str(error))
    return _build(images.Images(builder, arguments.tag, arguments.base), arguments, names, feed)


def _build(builds: images.Images, arguments: argparse.Namespace, names: list[str], feed: str) -> int:
    def after(job: images.Job) -> str:
        done = ""
        if arguments.archive:
            done += f", saved as {builds.save(job, arguments.archive).name}"
        if arguments.push:
            builds.push(job)
            done += ", pushed"
        return done

    todo = images.jobs(names, images.Naming(arguments.tag, arguments.registry), feed)
    print(f"{len(todo)} images with {builds.builder.kind}", flush=True)
    failed = images.build_all(builds, todo, lambda line: print(line, flush=True), after)
    if failed:
        return _refuse(f"{len(failed)} of {len(todo)} images were not built", 1)
    return 0


def _add_release(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--release", default="loopcast", help="the release's name (default: %(default)s)")
    add("--namespace", default="loopcast", help="(default: %(default)s)")
    add("--kubeconfig", type=Path, metavar="FILE", help="(default: KUBECONFIG, or ~/.kube/config)")
    add("--context", help="the kubeconfig's context (default: its current one)")
    add("--timeout", default="15m", help="how long Helm waits (default: %(default)s)")


def _add_up(parser: argparse.ArgumentParser) -> None:
    parser.description = "Installs the chart charts/loopcast, or upgrades it, and waits until all of it is ready."
    _add_release(parser)
    add = parser.add_argument
    add(
        "--values-for",
        default="",
        choices=["", *values.places()],
        help="begin with the values for this kind of cluster",
    )
    add("-f", "--values", type=Path, action="append", default=[], metavar="FILE", help="values over those; repeatable")
    add("--set", action="append", default=[], metavar="NAME.NAME=VALUE", help="one value over those; repeatable")
    add("--feed", type=Path, metavar="FILE", help="the feed file (default: the chart's, feeds/bitcoin-fees.yaml)")
    add("--registry", default="", help="where the images are pulled from (default: they lie on the nodes)")
    add("--tag", default="", help="the images' tag (default: the chart's appVersion)")
    add("--chart", type=Path, default=CHART, metavar="DIR", help="the chart (default: charts/loopcast)")
    parser.set_defaults(run=install)


def _add_down(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Uninstalls: policies, the release, what its programs made, definitions, and the namespace if up made it. What "
        "the release's values keep (operator.crds.keep, persistence.keep) stays."
    )
    _add_release(parser)
    parser.add_argument(
        "--keep-crds",
        action="store_true",
        help="leave the definitions of our custom resources, and all policies but the release's",
    )
    parser.set_defaults(run=uninstall)


def _add_status(parser: argparse.ArgumentParser) -> None:
    parser.description = "Shows the release's revision, its parts and its policies; 1 where one of them is not ready."
    _add_release(parser)
    parser.set_defaults(run=show_status)


def install(arguments: argparse.Namespace) -> int:
    """`python -m install up`: 0 when all parts are ready, 1 when one failed, 2 when nothing could be tried."""
    if not (arguments.chart / "Chart.yaml").is_file():
        return _refuse(f"there is no chart in {arguments.chart}")
    try:
        if arguments.feed:
            load_feed(arguments.feed)
        wanted = values.gather(arguments.values_for, arguments.values, arguments.set, _options(arguments))
    except (values.BadValues, FeedError) as error:
        return _refuse(str(error))
    release = Release(arguments.release, arguments.namespace, wanted, arguments.timeout, arguments.chart.resolve())

    async def work(cluster: Cluster, client: Client) -> bool:
        await up(cluster, client, release, _say)
        return True

    return _on_cluster(arguments, work)


def _options(arguments: argparse.Namespace) -> values.Values:
    """What the options say, as values. The operator's chart need not care for definitions: up and down do."""
    image = {name: text for name, text in (("registry", arguments.registry), ("tag", arguments.tag)) if text}
    feed = {"feed": arguments.feed.read_text(encoding="utf-8")} if arguments.feed else {}
    more = {**({"image": image} if image else {}), **feed}
    return {"operator": {"crds": {"hooks": False}}, **({"global": more} if more else {})}


def uninstall(arguments: argparse.Namespace) -> int:
    """`python -m install down`: 0 when nothing is left, also where nothing was there; 1 when something would not go."""

    async def work(cluster: Cluster, client: Client) -> bool:
        return await down(
            cluster,
            client,
            arguments.release,
            arguments.namespace,
            arguments.timeout,
            keep_definitions=arguments.keep_crds,
            say=_say,
        )

    return _on_cluster(arguments, work)


def show_status(arguments: argparse.Namespace) -> int:
    """`python -m install status`: 0 when all of the release is ready, 1 otherwise."""

    async def work(cluster: Cluster, client: Client) -> bool:
        return await status(cluster, client, arguments.release, arguments.namespace, _say)

    return _on_cluster(arguments, work)


def _on_cluster(arguments: argparse.Namespace, work: Callable[[Cluster, Client], Coroutine[Any, Any, bool]]) -> int:
    try:
        client = helm.client(arguments.kubeconfig, arguments.context)
        cluster = Cluster(arguments.kubeconfig, arguments.context)
        return 0 if asyncio.run(work(cluster, client)) else 1
    except (ClusterFailed, helm.HelmFailed, InstallFailed) as error:
        return _refuse(str(error), 1)


def _say(line: str) -> None:
    print(line, flush=True)


def _refuse(sentence: str, code: int = 2) -> int:
    print(f"install: {sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
