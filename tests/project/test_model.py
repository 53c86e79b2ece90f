"""The model fits the data and the loss."""

import torch


def test_model_gives_each_sample_a_score_for_each_class(small_run):
    """Scores `(B, num_classes)`. Another kind of model has another shape: say here which."""
    trainer = small_run()
    data, target = trainer.unpack(next(iter(trainer.data_loader)))
    output = trainer.model(data)
    assert output.shape == (len(target), trainer.config["arch"]["args"]["num_classes"])


def test_loss_is_one_finite_value_that_reaches_every_parameter(small_run):
    """No layer is left out, and none ends in NaN."""
    trainer = small_run()
    data, target = trainer.unpack(next(iter(trainer.data_loader)))
    loss = trainer.criterion(trainer.model(data), target)
    loss.backward()
    assert loss.shape == () and torch.isfinite(loss)
    trained = {name: each for name, each in trainer.model.named_parameters() if each.requires_grad}
    assert [name for name, each in trained.items() if each.grad is None or not torch.isfinite(each.grad).all()] == []


def test_metrics_are_one_value_each(small_run):
    """Of the first batch."""
    trainer = small_run()
    data, target = trainer.unpack(next(iter(trainer.data_loader)))
    output = trainer.model(data)
    assert all(torch.as_tensor(metric(output, target)).shape == () for metric in trainer.metric_ftns)
