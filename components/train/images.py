"""The images of the algorithms: ours in the account's registry, but for DeepAR the built-in one.

AWS publishes that in an account of its own in each region."""

from __future__ import annotations

from collections.abc import Mapping

from components.image import tag
from components.run import Refused
from loopcast import aws
from loopcast.names import Names

_DEEPAR_ACCOUNTS = {
    "af-south-1": "455444449433",
    "ap-east-1": "286214385809",
    "ap-northeast-1": "633353088612",
    "ap-northeast-2": "204372634319",
    "ap-northeast-3": "867004704886",
    "ap-south-1": "991648021394",
    "ap-south-2": "628508329040",
    "ap-southeast-1": "475088953585",
    "ap-southeast-2": "514117268639",
    "ap-southeast-3": "951798379941",
    "ap-southeast-4": "106583098589",
    "ca-central-1": "469771592824",
    "ca-west-1": "190319476487",
    "eu-central-1": "495149712605",
    "eu-central-2": "680994064768",
    "eu-north-1": "669576153137",
    "eu-south-1": "257386234256",
    "eu-south-2": "104374241257",
    "eu-west-1": "224300973850",
    "eu-west-2": "644912444149",
    "eu-west-3": "749696950732",
    "il-central-1": "898809789911",
    "me-central-1": "272398656194",
    "me-south-1": "249704162688",
    "sa-east-1": "855470959533",
    "us-east-1": "522234722520",
    "us-east-2": "566113047672",
    "us-gov-east-1": "237065988967",
    "us-gov-west-1": "226302683700",
    "us-west-1": "632365934929",
    "us-west-2": "156387875391",
}


def image_of(names: Names, algorithm: str, images: Mapping[str, str]) -> str:
    """The address of the algorithm's image: the one in `images`, else its own. Raises `Refused` where it has none."""
    if algorithm in images:
        return images[algorithm]
    return deepar_image(aws.region()) if algorithm == "deepar" else own_image(names, algorithm, tag())


def deepar_image(region: str) -> str:
    """The built-in DeepAR's image in `region`; raises `Refused` where AWS has none that is known here."""
    if region not in _DEEPAR_ACCOUNTS:
        raise Refused(f"No image of the built-in DeepAR is known in {region}: name one among the images.")
    return f"{_DEEPAR_ACCOUNTS[region]}.dkr.ecr.{region}.amazonaws.com/forecasting-deepar:1"


def metric_definitions(image: str) -> list[dict[str, str]]:
    """What SageMaker is to read in the log of one of our images: it knows the built-in DeepAR's metrics itself, and
    takes no definitions of them."""
    if image.partition("/")[2].startswith("forecasting-deepar:"):
        return []
    return [
        {"Name": f"test:{name}", "Regex": rf"#quality_metric: host=\S+, test {name} <loss>=(\S+)"}
        for name in ("mean_wQuantileLoss", "RMSE")
    ]


def own_image(names: Names, image: str, version: str) -> str:
    """The address of one of our images in the feed's repository in the account's registry."""
    return f"{names.account}.dkr.ecr.{aws.region()}.amazonaws.com/{names.repository(image)}:{version}"
