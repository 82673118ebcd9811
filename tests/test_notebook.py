"""docs/first_hour.ipynb: it runs from the first cell to the last, and is small."""

import os
from pathlib import Path

import nbformat
import pytest

from vae_gan_jax.film.read import video

PROJECT = Path(__file__).parent.parent
NOTEBOOK = PROJECT / "docs" / "first_hour.ipynb"
MAX_BYTES = 300_000


def pictures(notebook) -> list[int]:
    """The numbers of the cells that show a picture."""
    return [
        number
        for number, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", ())
        if "image/jpeg" in output.get("data", {})
    ]


def test_the_notebook_is_small_and_shows_its_pictures():
    assert NOTEBOOK.stat().st_size < MAX_BYTES
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert len(pictures(notebook)) == 5
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output.output_type == "error"]


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    """Its own kernel trains the demo film, which takes some minutes."""
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", os.fspath(PROJECT))
    monkeypatch.delenv("JAX_DISABLE_MOST_OPTIMIZATIONS")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    expected = pictures(notebook)
    folder = {"metadata": {"path": os.fspath(tmp_path)}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=folder).execute()
    assert pictures(notebook) == expected
    frames = {name: video.probe(tmp_path / f"runs/first_hour/{name}.mp4").frames
              for name in ("swapped", "walk")}  # fmt: skip
    assert frames == {"swapped": 480, "walk": 96}
