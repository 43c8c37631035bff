"""A network for tests: it has what is put into it, and remembers what it was asked."""

import io

import pooch
import requests


def fake(monkeypatch, tmp_path):
    """Return what is `served`, by address, and the addresses `asked`; with an empty cache, and no REFOPT_DATA."""
    served, asked = {}, []

    def get(url, timeout, **_):
        asked.append(url)
        assert max(timeout) <= 30, "a dead network must be noticed within seconds"
        if url not in served:
            raise requests.ConnectionError(url)
        response = requests.Response()
        response.status_code, response.raw = 200, io.BytesIO(served[url])
        return response

    monkeypatch.setattr(requests, "get", get)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv("REFOPT_DATA", raising=False)
    return served, asked
