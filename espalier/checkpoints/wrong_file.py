"""What a file is that holds no weights: told by how it begins, before anything reads it."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from espalier.checkpoints.run_folder import BUNDLE_NAME
from espalier.errors import CheckpointError, explain, first_of, shorten

_AGAIN = "download or copy it again"
_BEGINNINGS = (
    (b"version https://git-lfs", "is a pointer of git-lfs, and not the file itself", "in its repository: git lfs pull"),
    (b"\x93NUMPY", "is an array of NumPy (.npy), which has no names", "save tensors by their names with torch.save"),
    (b"\x89HDF", "is an HDF5 file, as Keras writes them", "take the file for PyTorch: .pth or .safetensors"),
    (b"\x1f\x8b", "is compressed (gzip)", "unpack it with gunzip, and name what comes out"),
)  # fmt: skip
_PAGE = "download the file itself: from GitHub the raw file, from Hugging Face with /resolve/ in place of /blob/"
_NPZ = 'torch.save({name: torch.from_numpy(each) for name, each in numpy.load("PATH").items()}, "weights.pth")'
_SCRIPT = 'take its weights out: torch.save(torch.jit.load("PATH").state_dict(), "weights.pth")'
_ADDRESS = re.compile(r"(https?|ftp|s3|gs|hf):/+(?=[^/])")


def wrong_kind(path: Path) -> CheckpointError | None:
    """The error for a file that is empty, cut short or of quite another kind; None where it may hold weights."""
    with path.open("rb") as file:
        begin = file.read(512)
    if not begin:
        return _error(path, "is empty", fix=_AGAIN)
    for known, what, fix in _BEGINNINGS:
        if begin.startswith(known):
            return _error(path, what, fix=fix)
    if begin.startswith(b"PK\3\4"):
        return _wrong_zip(path)
    if (text := _text(begin)) is None:
        return None
    if text.startswith("<"):
        return _error(path, "is a page of HTML or XML: its download failed", shorten(text), _PAGE)
    return _error(path, "is a text file", shorten(text), "give a file of weights: .pth, .pt, .bin or .safetensors")


def _wrong_zip(path: Path) -> CheckpointError | None:
    if not zipfile.is_zipfile(path):
        return _error(path, "is cut short", f"{path.stat().st_size:,} bytes, without the end of a zip file", _AGAIN)
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # damaged, of which another check knows more
        return None
    if names and all(name.endswith(".npy") for name in names):
        return _error(path, "holds arrays of NumPy (.npz)", first_of(names), _NPZ.replace("PATH", str(path)))
    if any(map(is_about_bundle, names)):
        return bundle_in_place(path)
    if any("/code/" in name for name in names):
        return _error(path, "is TorchScript, which is code", fix=_SCRIPT.replace("PATH", str(path)))
    if not any(name.endswith("/data.pkl") for name in names):
        return _error(path, "is a zip archive that torch.save did not write", first_of(names),
                      "unpack it, and name the file of weights in it")  # fmt: skip
    return None


def _text(begin: bytes) -> str | None:
    """The first line of a file of text; None for others."""
    text = begin.decode("utf-8", "ignore")
    is_whole = len(text.encode()) > len(begin) - 4  # but for a character that is cut at the end
    is_text = is_whole and all(each.isprintable() or each in "\r\n\t\f\ufeff" for each in text)
    return (text.strip("\ufeff \r\n\t\f").splitlines() or [""])[0] if is_text else None


def _error(path: Path, what: str, got: str | None = None, fix: str | None = None) -> CheckpointError:
    return CheckpointError(explain(f"checkpoint error: {path} {what}", got=got, fix=fix))


def is_about_bundle(name: str) -> bool:
    """Whether a file of that name in a zip says that it is a bundle."""
    return name.rpartition("/")[2] == BUNDLE_NAME and name.count("/") < 2


def bundle_in_place(path: Path) -> CheckpointError:
    """The error for a bundle where a checkpoint or weights are asked for."""
    fix = ("give it to predict.py or serve.py, or name the run that it was made of; "
           "arch.init_from takes the model.safetensors in it")  # fmt: skip
    return _error(path, "is a bundle, which has no checkpoint", fix=fix)


def missing_checkpoint(path: Path) -> CheckpointError:
    """The error for a checkpoint that is not there."""
    fix = "give a checkpoint (.pth) or the folder of a run under saved/models"
    return _address(path) or _error(path, "is not a file", fix=fix)


def missing_weights(path: Path) -> CheckpointError:
    """The error for a file of weights that is not there, or is a folder."""
    if path.is_dir():
        names = sorted(each.name for each in path.iterdir() if each.suffix in (".pth", ".pt", ".bin", ".safetensors"))
        what = explain(f"checkpoint error: {path} is a folder", got=f"in it: {first_of(names)}" if names else None,
                       fix="name a file in it: .pth, .pt, .bin or .safetensors")  # fmt: skip
        return CheckpointError(what)
    fix = "give a file of weights: .pth, .pt, .bin or .safetensors"
    return _address(path) or _error(path, "is not a file", fix=fix)


def _address(path: Path) -> CheckpointError | None:
    """The error for an address on the network, of which a path has one slash less."""
    if _ADDRESS.match(str(path)) is None:
        return None
    address = _ADDRESS.sub(r"\1://", str(path), count=1)
    how = f"curl -LO {address}" if address.startswith(("http", "ftp")) else address
    return CheckpointError(explain(f"checkpoint error: {address} is an address, and addresses are not fetched",
                                   fix=f"download it ({how}), and name the file: {path.name}"))  # fmt: skip
