import numpy as np


# NumPy numbers
def mae(output, target):
    return np.mean(np.abs(output.detach().cpu().numpy() - target.cpu().numpy()))


def mape(output, target):
    output, target = output.detach().cpu().numpy(), target.cpu().numpy()
    return np.mean(np.abs((output - target) / (np.abs(target) + 1))) * 100
