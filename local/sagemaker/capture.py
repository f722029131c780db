"""Data capture: what endpoints were asked and what they answered, as JSON Lines in S3.

A record is appended to a file of the state folder at once, so that a killed server loses none; a thread sends the files
to `<destination>/<endpoint>/<variant>/YYYY/MM/DD/HH/` every second.
"""

from __future__ import annotations

import base64
import json
import logging
import random
import threading
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from botocore.exceptions import BotoCoreError, ClientError

from local.sagemaker import storage
from local.sagemaker.context import Context
from local.sagemaker.registry import Json, service

_INTERVAL = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Message:
    """A body and its content type, of a request or of an answer."""

    content_type: str
    body: bytes


@service
class Capture:
    """Keeps and sends captured records."""

    def __init__(self, context: Context) -> None:
        self._folder = context.settings.state / "capture"
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._send_regularly, name="capture", daemon=True)

    def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def stop(self) -> None:
        self._closing.set()
        self._thread.join()

    def keep(self, config: Json, endpoint: str, variant: str, record: Json) -> None:
        """Keeps a record, to be sent within a second or two."""
        moment = datetime.now(UTC)
        destination = config["DestinationS3Uri"].rstrip("/")
        head = {"destination": f"{destination}/{endpoint}/{variant}/{moment:%Y/%m/%d/%H}"}
        name = f"{endpoint}!{variant}!{moment:%Y%m%d%H}.open"
        with self._lock, (self._folder / name).open("a") as file:
            if file.tell() == 0:
                file.write(json.dumps(head) + "\n")
            file.write(json.dumps(record) + "\n")

    def _send_regularly(self) -> None:
        while not self._closing.wait(_INTERVAL):
            self._send()
        self._send()

    def _send(self) -> None:
        self._close_files()
        for path in sorted(self._folder.glob("*.closed")):
            head, _, lines = path.read_text().partition("\n")
            try:
                storage.write(f"{json.loads(head)['destination']}/{path.stem}.jsonl", lines.encode())
            except (BotoCoreError, ClientError) as error:
                log.warning("captured data can't be sent, and is kept", extra={"reason": str(error)})
                return
            path.unlink()

    def _close_files(self) -> None:
        """Gives what has been written so far its final name, by its time, as in `05-31-117-<id>.jsonl`."""
        moment = datetime.now(UTC)
        with self._lock:
            for path in self._folder.glob("*.open"):
                name = f"{moment:%M-%S}-{moment.microsecond // 1000:03d}-{uuid.uuid4()}"
                path.rename(path.with_name(f"{name}.closed"))


def is_sampled(config: Json | None) -> bool:
    """Whether a request is to be captured, by the configuration's percentage."""
    if not config or not config.get("EnableCapture", True):
        return False
    share: int = config["InitialSamplingPercentage"]
    return random.random() * 100 < share  # noqa: S311 - a sample, no secret


def capture_record(config: Json, request: Message, answer: Message, event: Json) -> Json:
    """The line that is captured; `event` is its eventMetadata."""
    modes = {option["CaptureMode"] for option in config["CaptureOptions"]}
    data: Json = {}
    if modes & {"Input", "InputAndOutput"}:
        data["endpointInput"] = _captured(config, request, "INPUT")
    if modes & {"Output", "InputAndOutput"}:
        data["endpointOutput"] = _captured(config, answer, "OUTPUT")
    return {"captureData": data, "eventMetadata": event, "eventVersion": "0"}


def _captured(config: Json, message: Message, mode: str) -> Json:
    encoding = _encoding(config.get("CaptureContentTypeHeader", {}), message.content_type)
    plain = encoding != "BASE64"
    data = message.body.decode(errors="replace") if plain else base64.b64encode(message.body).decode()
    return {"observedContentType": message.content_type, "mode": mode, "data": data, "encoding": encoding}


def _encoding(headers: Json, content_type: str) -> str:
    """Text is kept as it is only for the content types that the configuration names."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind in (name.lower() for name in headers.get("CsvContentTypes", [])):
        return "CSV"
    if kind in (name.lower() for name in headers.get("JsonContentTypes", [])):
        return "JSON"
    return "BASE64"
