def spread(fake, real):
    """ mean distance from the centre """
    return fake.detach().norm(dim=1).mean().item()
