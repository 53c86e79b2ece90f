"""The model fits the data and the loss."""

import torch


def test_model_gives_an_output_for_each_sample(small_run):
    """Of a batch of the training data. What shape yours has beyond that, say here."""
    trainer = small_run()
    data, target = trainer.unpack(next(iter(trainer.data_loader)))
    assert len(trainer.model(data)) == len(target)


def test_loss_is_one_finite_value_that_reaches_every_parameter(small_run):
    """No layer is left out, and none ends in NaN."""
    trainer = small_run()
    data, target = trainer.unpack(next(iter(trainer.data_loader)))
    loss = trainer.criterion(trainer.model(data), target)
    loss.backward()
    assert loss.shape == () and torch.isfinite(loss)
    trained = {name: each for name, each in trainer.model.named_parameters() if each.requires_grad}
    assert [name for name, each in trained.items() if each.grad is None or not torch.isfinite(each.grad).all()] == []
