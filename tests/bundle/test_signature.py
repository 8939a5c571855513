"""Who made a bundle: only what the owner of a key has signed is taken, and what is not is named."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from bundle_files import FILES, bundle_folder
from typer.testing import CliRunner

from autoseg.bundle import __main__ as alone
from autoseg.bundle.archive import Bundle, BundleError, manifest_of
from autoseg.bundle.signature import PASSWORD, check_signature, sign_folder
from autoseg.cli.app import app
from autoseg.errors import MissingDependency, UsageError

pytest.importorskip("model_signing", reason="signatures are an extra")


def key_pair(
    folder: Path, name: str, password: bytes | None = None, curve: str = "P256"
) -> tuple[Path, Path]:
    """A private and a public key in PEM files."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    curves = {"P256": ec.SECP256R1(), "P521": ec.SECP521R1(), "K256": ec.SECP256K1()}
    made = rsa.generate_private_key(65537, 2048) if curve == "RSA" else ec.generate_private_key(curves[curve])
    pem = serialization.Encoding.PEM
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    cipher = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    private.write_bytes(made.private_bytes(pem, serialization.PrivateFormat.PKCS8, cipher))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(made.public_key().public_bytes(pem, form))
    return private, public


def renewed(folder: Path) -> None:
    """The manifest of a folder as it is now, as whoever changes a bundle can write it."""
    signature = folder / "model.sig"
    kept = signature.read_bytes()
    signature.unlink()
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").write_text(json.dumps(manifest_of(folder)))
    signature.write_bytes(kept)


def packed(folder: Path) -> Path:
    """The same as a zip."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in sorted(folder.rglob("*")):
            if each.is_file():
                archive.write(each, each.relative_to(folder).as_posix())
    return path


@pytest.fixture
def unsigned(tmp_path: Path) -> Path:
    """A bundle."""
    return bundle_folder(tmp_path / "bundle")


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A private and a public key."""
    return key_pair(tmp_path, "ours")


@pytest.fixture
def signed(unsigned: Path, keys: tuple[Path, Path]) -> Path:
    """A signed bundle."""
    sign_folder(unsigned, keys[0])
    return unsigned


@pytest.mark.parametrize("form", [lambda folder: folder, packed])
def test_what_was_signed_is_taken_wherever_it_lies(
    signed: Path, keys: tuple[Path, Path], tmp_path: Path, form: Callable[[Path], Path]
) -> None:
    moved = signed.rename(tmp_path / "another_name")
    check_signature(form(moved), keys[1])
    assert {name: Bundle.open(moved).read(name) for name in FILES} == FILES


@pytest.mark.parametrize("form", [lambda folder: folder, packed])
@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda root: (root / "card.md").write_bytes(b"# B card"), "card.md"),
        (lambda root: (root / "networks" / "a.onnx").write_bytes(b"others!" * 100), "manifest.json"),
        (lambda root: (root / "a.txt").write_bytes(b"more"), "a.txt"),
        (lambda root: (root / "card.md").unlink(), "card.md"),
        # What other tools leave out of signatures is signed here.
        (lambda root: (root / ".gitignore").write_bytes(b"more"), ".gitignore"),
    ],
)
def test_a_changed_file_is_named_though_the_manifest_was_renewed(
    signed: Path,
    keys: tuple[Path, Path],
    form: Callable[[Path], Path],
    change: Callable[[Path], object],
    name: str,
) -> None:
    change(signed)
    renewed(signed)
    Bundle.open(signed)  # as far as its manifest goes it is whole
    with pytest.raises(BundleError, match=rf"not what was signed: '{name}' was changed"):
        check_signature(form(signed), keys[1])


def test_a_relative_path_is_signed_as_any_other(
    unsigned: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(unsigned.parent)
    sign_folder(Path(unsigned.name), keys[0])
    check_signature(Path(unsigned.name), keys[1])


def test_another_key_is_told_from_a_changed_file(signed: Path, tmp_path: Path) -> None:
    _, other = key_pair(tmp_path, "other")
    with pytest.raises(BundleError, match=r"was not signed with the key that .*other\.pub belongs to"):
        check_signature(signed, other)


def test_a_forged_statement_does_not_pass(signed: Path, keys: tuple[Path, Path]) -> None:
    import base64

    (signed / "card.md").write_bytes(b"# B card")
    renewed(signed)
    hashes = Bundle.open(signed).hashes()
    document = json.loads((signed / "model.sig").read_text())
    statement = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
    for each in statement["predicate"]["resources"]:
        each["digest"] = hashes[each["name"]]
    document["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    (signed / "model.sig").write_text(json.dumps(document))
    with pytest.raises(BundleError, match="was not signed with the key"):
        check_signature(signed, keys[1])


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b"\xff\x00", b'{"dsseEnvelope": 3}', b"[" * 9999]
)
def test_what_is_no_signature_is_refused(signed: Path, keys: tuple[Path, Path], content: bytes) -> None:
    (signed / "model.sig").write_bytes(content)
    with pytest.raises(BundleError, match="was not signed with the key"):
        check_signature(signed, keys[1])


def test_an_unsigned_bundle_is_refused_only_where_a_key_is_given(
    unsigned: Path, keys: tuple[Path, Path]
) -> None:
    Bundle.open(unsigned)
    with pytest.raises(BundleError, match=r"is not signed: it has no model\.sig"):
        check_signature(unsigned, keys[1])


def test_an_encrypted_key_signs_with_its_password(
    unsigned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = key_pair(tmp_path, "locked", b"open sesame", "P521")
    monkeypatch.delenv(PASSWORD, raising=False)
    with pytest.raises(UsageError, match=f"is no private key .*{PASSWORD}"):
        sign_folder(unsigned, private)
    monkeypatch.setenv(PASSWORD, "another")
    with pytest.raises(UsageError, match="is no private key"):
        sign_folder(unsigned, private)
    assert not (unsigned / "model.sig").exists()
    monkeypatch.setenv(PASSWORD, "open sesame")
    sign_folder(unsigned, private)
    check_signature(unsigned, public)


@pytest.mark.parametrize("kind", ["text", "missing", "RSA", "K256", "exchanged"])
def test_what_is_no_key_is_refused(signed: Path, keys: tuple[Path, Path], tmp_path: Path, kind: str) -> None:
    private, public = tmp_path / "key.pem", tmp_path / "key.pub"
    if kind == "text":
        private.write_text("secret")
        public.write_text("no key")
    elif kind == "exchanged":
        public, private = keys
    elif kind != "missing":
        private, public = key_pair(tmp_path, "key", curve=kind)
    with pytest.raises(UsageError, match="is no private key that can be used"):
        sign_folder(signed, private)
    with pytest.raises(UsageError, match="is no public key that can be used"):
        check_signature(signed, public)


def test_without_the_package_the_extra_is_named(
    signed: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(MissingDependency, match=r"autoseg-medical\[sign\]"):
        check_signature(signed, keys[1])
    with pytest.raises(MissingDependency, match=r"autoseg-medical\[sign\]"):
        sign_folder(signed, keys[0])


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_an_edited_card_is_signed_and_nothing_else(
    unsigned: Path, keys: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    (unsigned / "card.md").write_text("# A card with its intended use")
    line = ["export", str(unsigned), str(tmp_path / name), "--to", "onnx", "--sign", str(keys[0])]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.output
    check_signature(tmp_path / name, keys[1])
    assert Bundle.open(tmp_path / name).read("card.md") == b"# A card with its intended use"
    (unsigned / "model.json").write_bytes(b"[]")
    again = [word.replace(name, f"again_{name}") for word in line]
    done = CliRunner().invoke(app, again)
    assert done.exit_code == 1 and "'model.json' with another content" in str(done.exception or done.output)
    assert not (tmp_path / f"again_{name}").exists()


def test_nothing_is_predicted_with_a_bundle_of_another(
    signed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, other = key_pair(tmp_path, "other")
    line = [str(signed), str(tmp_path / "images"), str(tmp_path / "made"), "--verify-key", str(other)]
    assert alone.main(line) == 1
    assert "was not signed with the key" in capsys.readouterr().err
    done = CliRunner().invoke(app, ["predict", *line])
    assert done.exit_code == 1 and "was not signed with the key" in str(done.exception or done.output)
    assert not (tmp_path / "made").exists()


def test_nothing_is_served_beside_a_model_of_another(
    signed: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    model = tmp_path / "model"
    (model / "fold_0").mkdir(parents=True)
    served = ["serve", f"a={signed}", f"b={model}", "--verify-key", str(keys[1]), "--once", "--quiet"]
    watched = ["--watch", str(tmp_path / "in"), str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*served, *watched])
    assert isinstance(done.exception, BundleError) and str(model) in str(done.exception)
    _, other = key_pair(tmp_path, "other")
    done = CliRunner().invoke(app, ["serve", str(signed), "--verify-key", str(other), *watched])
    assert "was not signed with the key" in str(done.exception)
    assert not (tmp_path / "in").exists() and not (tmp_path / "out").exists()


def test_only_a_bundle_is_signed(unsigned: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    line = ["export", str(unsigned), str(tmp_path / "out"), "--to", "web", "--sign", str(keys[0])]
    done = CliRunner().invoke(app, line)
    assert isinstance(done.exception, UsageError) and "--sign signs a bundle" in str(done.exception)
