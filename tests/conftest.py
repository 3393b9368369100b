"""Tools that several tests share."""

import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

PARAMETERS = 'profile: str = "quick"\nDATA: str = "mock"\noutput: str = ""\nseed: int = 0\nn: int = 3'


@pytest.fixture(autouse=True)
def the_same_whatever_ran_before():
    """Networks that a test makes without a generator of their own begin alike in every run, on every worker; and
    denormal numbers, which training rounds to 0, are numbers again."""
    import torch

    torch.manual_seed(0)
    torch.set_flush_denormal(False)


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


def in_fibre(truth):
    """Mock galaxies' bulges, then their discs, as far as they lie in the fibre: what a fit of its spectrum may find."""
    from paper_utils.sky import apertures, components

    part = apertures.fibre(truth)
    return components.components(truth, part.bulge, part.disc)


def in_a_fresh_process(code: str, *files: Path | str) -> None:
    """Runs lines that know nothing of this process but `files`, their sys.argv[1:]; np, torch and Model are at hand."""
    from paper_utils.base import paths

    imports = "import sys\nimport numpy as np\nimport torch\nfrom paper_utils.nets.model_file import Model\n"
    subprocess.run([sys.executable, "-c", imports + code, *map(str, files)], check=True, cwd=paths.ROOT)


@contextmanager
def read_or_refused(*names: str):
    """What reads a file in the block ends well, or raises a DataError that names the file, or one of `names`."""
    from paper_utils.base.errors import DataError

    try:
        yield
    except DataError as problem:
        if not any(name in str(problem) for name in names):
            raise


class Loopback(ThreadingHTTPServer):
    """A server at `base` that keeps the paths `asked` and how many at a time at most.

    A test's own has `answer(path, headers)`, which returns status, body and headers.
    """

    def __init__(self):
        self.asked, self.active, self.most_active, self.lock = [], 0, 0, threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)
        self.base = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        with server.lock:
            server.asked.append(self.path)
            server.active += 1
            server.most_active = max(server.most_active, server.active)
        status, body, headers = server.answer(self.path, self.headers)
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        with server.lock:
            server.active -= 1

    def log_message(self, *words):
        pass


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
    """An empty folder in place of the project's notebooks/, with profiles/ in it; output/ and figures/ next to it."""
    from paper_utils.base import paths

    folder = tmp_path / "notebooks"
    (folder / "profiles").mkdir(parents=True)
    monkeypatch.setattr(paths, "NOTEBOOKS", folder)
    monkeypatch.setattr(paths, "OUTPUT", tmp_path / "output")
    monkeypatch.setattr(paths, "FIGURES", tmp_path / "figures")
    return folder


@pytest.fixture
def companion(capsys):
    """Run the command line in this process; returns exit status, standard output and standard error."""
    from paper_utils.runs import cli

    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.app([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return ended.value.code or 0, told.out, told.err

    return call


@pytest.fixture(scope="session")
def emiles():
    """The E-MILES templates, got once; tests that need them are skipped where they cannot be had."""
    from paper_utils.base.errors import DataError
    from paper_utils.files import templates

    try:
        return templates.emiles()
    except DataError as problem:
        pytest.skip(f"the E-MILES templates cannot be had: {problem.problem}")


@pytest.fixture(scope="session")
def ssps(emiles):
    """The mock sky's stellar populations."""
    from paper_utils.sky import populations

    return populations.from_emiles(emiles)
