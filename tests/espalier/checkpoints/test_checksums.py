"""Files with the checksums that PyTorch would have written."""

import io
import zipfile

import pytest
import torch

from espalier.checkpoints import checksums
from espalier.checkpoints.checksums import UnknownLayoutError, save_with_checksums
from espalier.checkpoints.file import check_intact, load_checkpoint, save_checkpoint

BASE = torch.arange(60.0).reshape(3, 20)
STATES = {
    "no tensors": {"epoch": 1, "text": "é" * 70},
    "empty tensors": {"a": torch.empty(0), "b": torch.empty(3, 0), "c": torch.ones(3)},
    "scalar": {"a": torch.tensor(1.5)},
    "views of one": {"a": BASE, "b": BASE[1:], "c": BASE.t()},
    "a megabyte": {"a": torch.arange(300_000.0), "b": torch.arange(70_000.0), "c": torch.ones(3)},
    "kinds": {str(kind): torch.ones(5).to(kind) for kind in (torch.bfloat16, torch.int8, torch.bool, torch.complex64)},
    "many": {str(size): torch.full((size,), float(size)) for size in range(200)},
    "data like a descriptor": {"a": torch.frombuffer(bytearray(b"PK\7\x08" + bytes(12)), dtype=torch.uint8)},
    "data like a header": {"a": torch.frombuffer(bytearray(b"PK\3\4" + bytes(26)), dtype=torch.uint8)},
    "data like a directory": {"a": torch.frombuffer(bytearray(b"PK\1\2" + bytes(42)), dtype=torch.uint8)},
}


def parts_of(file):
    """Everything in a zip file but the id of torch: by name its bytes, checksum and place."""
    with zipfile.ZipFile(file) as archive:
        return {
            part.filename: (archive.read(part), part.CRC, part.header_offset, part.flag_bits)
            for part in archive.infolist()
            if not part.filename.endswith("serialization_id")
        }


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_save_with_checksums_writes_what_torch_writes(state):
    """Same size, parts, places and checksums; the checksums beside the parts, which zipfile passes over, too."""
    expected, found = io.BytesIO(), io.BytesIO()
    torch.save(state, expected)
    save_with_checksums(state, found)
    assert parts_of(found) == parts_of(expected)
    assert zipfile.ZipFile(found).testzip() is None
    differing = [at for at, (a, b) in enumerate(zip(found.getvalue(), expected.getvalue(), strict=True)) if a != b]
    assert len(differing) <= 20 + 4 + 4  # the second half of the id, and its checksum in two places


@pytest.mark.parametrize("was_on", [True, False])
def test_save_with_checksums_leaves_torchs_setting(was_on):
    """Whether torch computes checksums elsewhere stays as it was, also after an error."""
    torch.serialization.set_crc32_options(was_on)
    try:
        save_with_checksums({}, io.BytesIO())
        assert torch.serialization.get_crc32_options() is was_on
        with pytest.raises(AttributeError):
            save_with_checksums({"not to be pickled": lambda: 0}, io.BytesIO())
        assert torch.serialization.get_crc32_options() is was_on
    finally:
        torch.serialization.set_crc32_options(True)


def cut_in_two(write):
    """A `write` that is handed large data in two pieces."""

    def halves(self, data):
        if len(data) > 1000:
            return write(self, data[:500]) + write(self, data[500:])
        return write(self, data)

    return halves


def without_descriptors(write):
    """A `write` that is told of no descriptor."""
    return lambda self, data: len(data) if bytes(data[:4]) == b"PK\7\x08" else write(self, data)


@pytest.mark.parametrize("other_layout", [cut_in_two, without_descriptors], ids=lambda layout: layout.__name__)
def test_layout_that_is_not_known_is_told_and_left_to_torch(other_layout, monkeypatch, tmp_path):
    """Should another PyTorch write its files differently, a checkpoint is still whole, and checked."""
    state = {"state_dict": {"a": torch.arange(1000.0)}}
    monkeypatch.setattr(checksums._Archive, "write", other_layout(checksums._Archive.write))
    with pytest.raises(UnknownLayoutError):
        save_with_checksums(state, io.BytesIO())
    path = tmp_path / "x.pth"
    save_checkpoint(state, path)
    check_intact(path)
    assert torch.equal(load_checkpoint(path)["state_dict"]["a"], state["state_dict"]["a"])
    assert [each.name for each in tmp_path.iterdir()] == ["x.pth"]


def test_every_flipped_byte_of_a_tensor_is_found(tmp_path):
    """The checksums are those of the data, not merely consistent with each other."""
    path = tmp_path / "x.pth"
    data = torch.arange(300_000, dtype=torch.int32)
    save_checkpoint({"state_dict": {"a": data}}, path)
    content = path.read_bytes()
    begin = content.index(data.numpy().tobytes())
    for at in (begin, begin + 600_000, begin + 1_199_999):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(Exception, match="fails its check"):
            check_intact(path)
