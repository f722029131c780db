"""Compiles the pipelines, as KFP's YAML and as Kubernetes resources.

OUTPUT/<name>.yaml holds a Pipeline and a PipelineVersion, which Argo CD syncs; OUTPUT/ir/<name>.yaml is what KFP's own
client and page upload. A version's spec can't change, so that its name carries a hash of its content.
"""

import argparse
import hashlib
import re
from pathlib import Path

import yaml
from kfp.compiler import Compiler
from kfp.compiler.compiler_utils import KubernetesManifestOptions

from components.image import IMAGE
from pipelines.build import build
from pipelines.deploy import deploy
from pipelines.monitor import monitor
from pipelines.rollback import rollback
from pipelines.tune import tune

PIPELINES = {"build": build, "deploy": deploy, "monitor": monitor, "rollback": rollback, "tune": tune}
OUTPUT = Path("manifests/pipelines")
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._/:-]*(:[A-Za-z0-9_][A-Za-z0-9._-]*|@sha256:[0-9a-f]{64})")
_WAVE = "argocd.argoproj.io/sync-wave"


def compile_pipelines(output: Path, image: str = IMAGE) -> list[Path]:
    """Writes the files of every pipeline below `output`, with steps that run in `image`, and returns their paths."""
    (output / "ir").mkdir(parents=True, exist_ok=True)
    return [path for name in PIPELINES for path in _compile(name, output, image)]


def version_name(name: str, ir: str) -> str:
    """`loopcast-build-<hash>`: another name for each content of the compiled pipeline."""
    return f"{name}-{hashlib.sha256(ir.encode()).hexdigest()[:10]}"


def _compile(name: str, output: Path, image: str) -> list[Path]:
    pipeline, resources, ir = PIPELINES[name], output / f"{name}.yaml", output / "ir" / f"{name}.yaml"
    Compiler().compile(pipeline, str(ir))
    _use(image, ir)
    options = KubernetesManifestOptions(
        pipeline_name=pipeline.name,
        pipeline_version_name=version_name(pipeline.name, ir.read_text(encoding="utf-8")),
        include_pipeline_manifest=True,
    )
    Compiler().compile(pipeline, str(resources), kubernetes_manifest_options=options, kubernetes_manifest_format=True)
    _order(resources)
    _use(image, resources)
    return [resources, ir]


def _use(image: str, path: Path) -> None:
    """Names another image: a component's own was set when it was imported."""
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(f"image: {IMAGE}\n", f"image: {image}\n"), encoding="utf-8")


def _order(path: Path) -> None:
    """Makes Argo CD apply the Pipeline before its version."""
    documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    for wave, document in enumerate(documents):
        document["metadata"]["annotations"] = {_WAVE: str(wave)}
    path.write_text(yaml.safe_dump_all(documents, sort_keys=True, width=120), encoding="utf-8")


def _image(text: str) -> str:
    if not _IMAGE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no image with a tag or digest, as [registry/]name:tag")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipelines.compile", description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder (default: %(default)s)")
    parser.add_argument("--image", type=_image, default=IMAGE, help="what the steps run in (default: %(default)s)")
    settings = parser.parse_args()
    for path in compile_pipelines(settings.output, settings.image):
        print(path)


if __name__ == "__main__":
    main()
