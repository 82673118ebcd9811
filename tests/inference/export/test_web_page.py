"""The files of an export's page, and where ONNX Runtime Web comes from."""

import shutil

import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.inference.export import web_page


def test_the_page_names_the_films_and_allows_no_other_address(tmp_path):
    web_page.write(tmp_path, ["big_bunny", "a<b"], {"ort.wasm.bundle.min.mjs": b"script"})
    page = (tmp_path / "index.html").read_text()
    assert "<h1>big bunny and a&lt;b</h1>" in page
    assert "connect-src 'self' blob:;" in page
    assert "https://" not in page
    assert "Nothing leaves this machine" in page
    assert (tmp_path / "ort" / "ort.wasm.bundle.min.mjs").read_bytes() == b"script"
    assert {"app.js", "worker.js", "style.css"} <= {path.name for path in tmp_path.iterdir()}


def test_the_cdn_is_pinned_and_checked(tmp_path):
    web_page.write(tmp_path, ["film"], web_page.runtime_files("cdn"))
    page = (tmp_path / "index.html").read_text()
    assert "connect-src 'self' blob: https://cdn.jsdelivr.net;" in page
    assert f"https://cdn.jsdelivr.net/npm/{web_page.PACKAGE}/dist/" in page
    assert all(f"sha384-{checksum}" in page for checksum in web_page.FILES.values())
    assert not (tmp_path / "ort").exists()


def test_npm_has_the_pinned_files(onnxruntime_web):
    assert set(web_page.runtime_files(str(onnxruntime_web))) == set(web_page.FILES)


def test_a_folder_without_the_pinned_files_is_refused(onnxruntime_web, tmp_path):
    with pytest.raises(InputError, match=r"ort.webgpu.bundle.min.mjs of onnxruntime-web@"):
        web_page.runtime_files(str(tmp_path / "nowhere"))
    copy = shutil.copytree(onnxruntime_web, tmp_path / "copy")
    with (copy / "ort-wasm-simd-threaded.wasm").open("ab") as file:
        file.write(b"changed")
    with pytest.raises(InputError, match=r"does not have ort-wasm-simd-threaded.wasm"):
        web_page.runtime_files(str(copy))


def test_without_npm_the_page_uses_the_cdn(monkeypatch, caplog):
    monkeypatch.setenv("PATH", "")
    assert web_page.runtime_files("") == {}
    assert "so the page loads it from cdn.jsdelivr.net" in caplog.text


def test_the_page_is_small():
    lines = [path.read_text().splitlines() for path in web_page.TEMPLATES.iterdir()]
    assert max(map(len, lines)) <= 300
    assert sum(map(len, lines)) < 1000
