"""The two networks fit the data and the loss."""

import torch


def test_generator_makes_images_like_those_of_the_data(small_run):
    """Of noise, one for each row."""
    trainer = small_run()
    data, _ = trainer.unpack(next(iter(trainer.data_loader)))
    assert trainer.model(trainer.model.draw(len(data), trainer.device)).shape == data.shape


def test_loss_of_both_reaches_every_parameter(small_run):
    """What the discriminator makes of made up images reaches the generator, too."""
    trainer = small_run()
    loss = trainer.judge(trainer.model(trainer.model.draw(8, trainer.device)), 1.0)
    loss.backward()
    assert loss.shape == () and torch.isfinite(loss)
    assert [name for name, each in trainer.model.named_parameters() if each.grad is None] == []
