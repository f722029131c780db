"""Applies the AWS resources in manifests shaped as ACK's, and removes them again.

  plan     says what apply would do, and changes nothing
  apply    creates what is missing and updates what differs; a second apply changes nothing
  delete   deletes what the manifests declare, apart from what they say is to be retained
  destroy  deletes that and everything else that the feed's stack has ever made: objects, endpoints, models, logs

Ends with 0, with 1 when AWS or a change was refused or something is left, and with 2 when the manifests can't be used.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from applier import destroy, engine
from applier.engine import Step, Verb, Waiter
from applier.manifest import Cluster, ManifestError, placeholders, read_manifests
from applier.resources import Place, Resource, left_by_ack, resources_of
from loopcast.aws import account, region
from loopcast.feed import Feed, FeedError, load_feed
from loopcast.names import Names

DEFAULT_PATH = Path(__file__).parent.parent / "manifests" / "aws"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.left_by_ack and options.command == "destroy":
        parser.error("destroy takes all of a feed: --left-by-ack is for plan, apply and delete")
    try:
        feed = load_feed(options.feed)
        place = Place(account(), region())
        values = placeholders(feed, place.account, place.region, _cluster(options))
        resources = resources_of(read_manifests(options.path, values), place)
    except (ManifestError, FeedError) as error:
        print(error, file=sys.stderr)
        return 2
    except (ClientError, BotoCoreError) as error:
        print(f"AWS doesn't say which account this is: {error}", file=sys.stderr)
        return 1
    if options.left_by_ack:
        resources = left_by_ack(resources)
    try:
        return _run(options, feed, place, resources)
    except engine.ApplyError as error:
        print(error, file=sys.stderr)
    except (ClientError, BotoCoreError) as error:
        print(f"AWS refused: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped: run it again to go on", file=sys.stderr)
    return 1


def _run(options: argparse.Namespace, feed: Feed, place: Place, resources: list[Resource]) -> int:
    if options.command == "plan":
        return _plan(resources)
    if options.command == "apply":
        return _apply(resources)
    if options.command == "delete":
        return _delete(resources)
    own = [resource for resource in resources if not resource.shared]
    return destroy.run(Names(feed.name, place.account), own, Waiter(_say), confirmed=options.yes)


def _cluster(options: argparse.Namespace) -> Cluster:
    return Cluster(options.oidc_provider, options.namespace, options.release, options.pipelines_account)


def _plan(resources: list[Resource]) -> int:
    steps = engine.plan(resources)
    for step in steps:
        _say(str(step))
    _say(_summary("plan", Counter(step.verb.value for step in steps)))
    return _refuse(steps)


def _apply(resources: list[Resource]) -> int:
    start = time.monotonic()
    steps = engine.plan(resources)
    if _refuse(steps):
        return 1
    failed = engine.apply(steps, Waiter(_say))
    for sentence in failed:
        print(sentence, file=sys.stderr)
    if not failed:
        done = {Verb.CREATE: "created", Verb.UPDATE: "updated", Verb.NOTHING: "unchanged"}
        counts = Counter(done[step.verb] for step in steps)
        _say(f"{_summary('apply', counts)} in {time.monotonic() - start:.1f} s")
    return 1 if failed else 0


def _refuse(steps: Sequence[Step]) -> int:
    refused = [sentence for step in steps for sentence in engine.refusals(step)]
    for sentence in refused:
        print(sentence, file=sys.stderr)
    return 1 if refused else 0


def _delete(resources: list[Resource]) -> int:
    for resource in resources:
        if resource.retained:
            _say(f"{resource}: retained")
    failed = engine.delete([resource for resource in resources if not resource.retained], Waiter(_say))
    for sentence in failed:
        print(sentence, file=sys.stderr)
    return 1 if failed else 0


def _summary(command: str, counts: Counter[str]) -> str:
    return f"{command}: " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))


def _say(line: str) -> None:
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m applier", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("plan", "apply", "delete", "destroy"))
    parser.add_argument("path", nargs="?", type=Path, default=DEFAULT_PATH, help="a file or folder (manifests/aws)")
    parser.add_argument(
        "--feed",
        type=Path,
        default=Path(os.environ.get("LOOPCAST_FEED", "feeds/bitcoin-fees.yaml")),
        help="the feed file that the names derive from (LOOPCAST_FEED, else feeds/bitcoin-fees.yaml)",
    )
    parser.add_argument(
        "--left-by-ack",
        action="store_true",
        help="only what ACK leaves: the resources annotated with loopcast.io/applied-by: applier; not for destroy",
    )
    _add_cluster(parser)
    parser.add_argument("--yes", action="store_true", help="destroy without asking")
    return parser


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    """Whose service accounts the roles trust; what isn't given is read from the environment."""
    known = Cluster()
    settings = {
        "oidc-provider": ("HOST/PATH", known.oidc_provider, "the cluster's OIDC provider, without https://, for IRSA"),
        "namespace": ("NAME", known.namespace, "the namespace of the pods that have the roles"),
        "release": ("NAME", known.release, "what the names of their service accounts begin with"),
        "pipelines-account": ("NAMESPACE/NAME", "", "the service account of pipelines' pods, where it is another"),
    }
    for name, (metavar, default, text) in settings.items():
        variable = f"LOOPCAST_{name.upper().replace('-', '_')}"
        value = os.environ.get(variable) or default
        text = f"{text} ({variable}, else {default or 'none'})"
        parser.add_argument(f"--{name}", metavar=metavar, default=value, help=text)


if __name__ == "__main__":
    sys.exit(main())
