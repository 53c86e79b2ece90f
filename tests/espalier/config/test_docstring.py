"""Docstrings in the styles that people write."""

import inspect

import pytest
import torch
import torchvision

from espalier.config.docstring import arguments_in_docs, plain, summary_of

GOOGLE = """First line,
    and its second.

    More.

    Args:
        rate (float, optional): how fast. It is
            at least 0.
        mean, std: of each channel

            a second paragraph
        weights (:class:`~torch.Weights`, optional): what to begin with
        **options: others

    Returns:
        something: else
    """
NUMPY = """First line,
    and its second.

    Parameters
    ----------
    rate : float, optional
        how fast. It is
        at least 0.
    mean, std : list
        of each channel
    weights
        what to begin with
    **options
        others

    Returns
    -------
    something : int
        else
    """
SPHINX = """First line,
    and its second.

    :param rate: how fast. It is
        at least 0.
    :param float mean: of each channel
    :param std: of each channel
    :param weights: what to begin with
    :param options: others
    :returns: something
    """


@pytest.mark.parametrize("text", [GOOGLE, NUMPY, SPHINX], ids=["google", "numpy", "sphinx"])
def test_docstring_gives_its_first_paragraph_and_its_arguments(text):
    """Whatever the style; what is returned is no argument."""

    def function():
        pass

    function.__doc__ = text
    assert summary_of(function) == "First line, and its second."
    assert arguments_in_docs(function) == {
        "rate": "how fast. It is at least 0.", "mean": "of each channel", "std": "of each channel",
        "weights": "what to begin with", "options": "others",
    }  # fmt: skip


def test_docstring_of_a_class_is_completed_by_its_constructor_and_its_bases():
    """The nearest text counts; the first paragraph is never one that was inherited."""

    class Base:
        """A base.

        Args:
            size: of it
            name: of the base
        """

    class Own(Base):
        def __init__(self, name, depth):
            """Make it.

            Args:
                name: of its own
                depth: how deep
            """

    assert summary_of(Own) == ""
    assert arguments_in_docs(Own) == {"name": "of its own", "depth": "how deep", "size": "of it"}


@pytest.mark.parametrize(
    "target",
    [torch.optim.Adam, torch.optim.SGD, torch.nn.CrossEntropyLoss, torch.nn.Linear, torch.optim.lr_scheduler.StepLR,
     torch.optim.lr_scheduler.OneCycleLR, torch.utils.data.DataLoader, torchvision.models.resnet18],
    ids=lambda target: target.__name__,
)  # fmt: skip
def test_docstrings_of_pytorch_are_read(target):
    """Nearly every argument of these has a text, but for those that stand in no docstring of PyTorch."""
    unsaid = ("device", "dtype", "generator", "options")
    names = [name for name in inspect.signature(target).parameters if name not in unsaid]
    found = arguments_in_docs(target)
    assert summary_of(target)
    assert len([name for name in names if name in found]) >= 0.9 * len(names)


@pytest.mark.parametrize("text", ["", "One line.", "Args:", "Args:\n", "Parameters\n----", ":param",
                                  ":param x", "Args:\nx: y", "\0", "Args:\n    (: x\n    a(b: c"])  # fmt: skip
def test_docstring_of_any_form_is_read_without_an_error(text):
    """Nobody has to write one, or to write it well."""

    def function():
        pass

    function.__doc__ = text
    assert isinstance(summary_of(function), str)
    assert all(isinstance(each, str) for each in arguments_in_docs(function).values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [("see :class:`~torch.Tensor` and ``x``", "see torch.Tensor and `x`"),
     ("`Paper <https://x.org/a>`__ says", "Paper says"),
     ("as `it`_ is", "as it is"), ("`a` and `b`", "`a` and `b`")],
)  # fmt: skip
def test_plain_text_has_no_markup(text, expected):
    """Roles and links are for a page."""
    assert plain(text) == expected
