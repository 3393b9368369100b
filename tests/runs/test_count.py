"""The counter of code lines, on a small package and a notebook whose lines are counted by hand."""

import importlib.util
import json

import pytest
from conftest import write_notebook

from paper_utils.base import paths

spec = importlib.util.spec_from_file_location("count", paths.ROOT / "benchmarks" / "count.py")
count = importlib.util.module_from_spec(spec)
spec.loader.exec_module(count)

MODULE = '''"""A module.

With two lines."""

# A comment.
import math


def f(x):
    """Double it."""
    text = """not a
docstring"""
    return 2 * x  # a comment after code
'''


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "pack"
    for name, text in {
        "__init__.py": '"""Words."""\n',
        "base/a.py": MODULE,
        "sky/b.py": "from pack.base import a\n",
        "base/unused.py": "x = 1\ny = 2\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_code_lines_are_neither_blank_comment_nor_docstring(package):
    assert count.code_lines(MODULE) == {6, 9, 11, 12, 13}
    modules = count.code_of(package.rglob("*.py"), package)
    assert modules == {"__init__.py": 0, "base/a.py": 5, "sky/b.py": 1, "base/unused.py": 2}
    assert count.rooms(modules) == {"(root)": 0, "base": 7, "sky": 1, "core": 7, "wings": 1}


def test_a_notebook_is_measured_with_what_it_pulls_in(package, tmp_path):
    notebook = write_notebook(
        tmp_path / "01_a.ipynb", "%matplotlib inline\nfrom pack.sky import b\n\nx = 1", "", "y = x"
    )
    book = json.loads(notebook.read_text())
    book["cells"] += [{"cell_type": "markdown", "id": f"t{i}", "metadata": {}, "source": "text"} for i in range(2)]
    notebook.write_text(json.dumps(book))
    about, pulled = count.measure(notebook, package)
    # Five lines of parameters, two of code, one of code.
    assert about == {
        "cells": 3, "median": 2, "p90": 5, "max": 5, "plumbing %": 12.5, "code per text": 1.5, "pulled in": 6,
    }  # fmt: skip
    assert pulled == {"__init__.py": 0, "base/a.py": 5, "sky/b.py": 1}


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("import numpy as np\nx = np.arange(3)", {1}),
        ("study.claim(\n    'm.a',\n    3,\n)", {1, 2, 3, 4}),
        ("for name in names:\n    print(name)", {1, 2}),
        ("for name in names:\n    x = fit(name)\n    print(x)", {3}),
        ("if mock:\n    display(study.claim('a', t))\nelse:\n    print('none')", {1, 2, 3, 4}),
        ("if mock:\n    display(study.table('a', t, 'a'))\nelse:\n    print('none')", {4}),
        ("shown.figure(drawn, 'what it shows')\nstudy.figure('a', drawn, 'a')", set()),
        ("table['a'].format = '.3f'", {1}),
        ("cards['GLO'] = card", {1}),
        ("cardinal = fit(x)\nloss = study_loss(x)", {1}),
        ("# print(x)\n\nx = 1", set()),
        ("def f(x):\n    return fit(x)", set()),
    ],
)
def test_plumbing_only_imports_records_formats_or_prints(code, lines):
    assert count.plumbing(code) == lines


def test_what_exceeds_its_limit_is_marked():
    assert count.marked(10, 9) == "10 !>9"
    assert count.marked(9, 9) == "9 (≤9)"
    assert count.marked(9, None) == "9"
