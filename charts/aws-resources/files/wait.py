"""Waits until something answers at each URL that is given: local AWS may start later than what uses it."""

import sys
import time
import urllib.error
import urllib.request

SECONDS = 600
DEADLINE = time.monotonic() + SECONDS


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 (what the chart gave)
    except urllib.error.HTTPError:
        return True
    except OSError as error:
        print(f"waiting for {url}: {error}", flush=True)
        return False
    return True


for url in sys.argv[1:]:
    while not answers(url):
        if time.monotonic() > DEADLINE:
            sys.exit(f"{url} has not answered within {SECONDS} s")
        time.sleep(2)
