"""Whether a host answers, found out within seconds."""

import threading

import requests

PATIENCE = 4.0  # seconds until a host that does not answer counts as unreachable


def host_answers(url):
    """True where a HEAD request for the URL succeeds within ``PATIENCE`` seconds.

    It runs in a thread, because the look-up of a name has no time-out of its own.
    """
    answered = []

    def ask():
        try:
            answered.append(requests.head(url, timeout=PATIENCE).ok)
        except requests.RequestException:
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return any(answered)
