"""Copies of requests to shadow variants: asked in threads of their own, so that no caller waits for them or fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from local.sagemaker.context import Context
from local.sagemaker.registry import service

_THREADS = 8
_WAITING = 100

log = logging.getLogger(__name__)


@service
class Shadows:
    """Runs copies; a shadow that is too slow for its requests loses some."""

    def __init__(self, context: Context) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="shadow")
        self._places = threading.BoundedSemaphore(_WAITING)

    def start(self) -> None:
        """Nothing is left of an earlier process."""

    def stop(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def run(self, ask: Callable[[], None]) -> bool:
        """Runs `ask` soon; False, and does not, where too many wait already."""
        if not self._places.acquire(blocking=False):
            log.warning("a copy of a request is left out: the shadow is too slow")
            return False
        self._pool.submit(self._run, ask)
        return True

    def _run(self, ask: Callable[[], None]) -> None:
        try:
            ask()
        except Exception as error:
            log.warning("a shadow did not answer", extra={"reason": str(error)})
        finally:
            self._places.release()
