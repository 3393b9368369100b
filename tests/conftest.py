"""Tools that several tests share."""

import json
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

PARAMETERS = 'profile: str = "quick"\nDATA: str = "mock"\noutput: str = ""\nseed: int = 0\nn: int = 3'


def write_notebook(path: Path, *cells: str, parameters: str = PARAMETERS) -> Path:
    """A notebook with a cell tagged `parameters` and the given code cells, as JupyterLab would save it."""
    book = {
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "metadata": {"tags": ["parameters"]} if number == 0 else {},
                "source": source,
                "outputs": [],
                "execution_count": None,
            }
            for number, source in enumerate([parameters, *cells])
        ],
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(book))
    return path


@contextmanager
def serving(server):
    """An HTTP server that answers in a thread of its own until the block ends."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """An empty folder that stands in for the project's notebooks/, with profiles/ in it."""
    from paper_utils import paths

    folder = tmp_path / "notebooks"
    (folder / "profiles").mkdir(parents=True)
    monkeypatch.setattr(paths, "NOTEBOOKS", folder)
    monkeypatch.setattr(paths, "OUTPUT", tmp_path / "output")
    return folder


@pytest.fixture(scope="session")
def emiles():
    """The E-MILES templates, got once; tests that need them are skipped where they cannot be had."""
    from paper_utils.archives import templates
    from paper_utils.errors import DataError

    try:
        return templates.emiles()
    except DataError as problem:
        pytest.skip(f"the E-MILES templates cannot be had: {problem.problem}")
