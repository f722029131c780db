"""Builds Loopcast's images and installs it on a cluster: `python -m install images|up|down|status`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from install import images
from install.builders import NoBuilder, find_builder
from loopcast.feed import FeedError, load_feed

INTERRUPTED = 130


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m install", description=(__doc__ or "").partition(":")[0] + ".")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_images(commands.add_parser("images", help="build the images"))
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


def _refuse(sentence: str, code: int = 2) -> int:
    print(f"install: {sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
