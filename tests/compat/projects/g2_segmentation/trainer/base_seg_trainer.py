from base import BaseTrainer
from utils import *


class BaseSegTrainer(BaseTrainer):
    """ what all my trainers share """

    def to_device(self, *tensors):
        return [t.to(self.device) for t in tensors]

    def write_table(self, rows):
        # all epochs as a table, beside the checkpoints
        folder = Path(self.checkpoint_dir)
        file = folder / 'epochs.csv'
        table = pd.DataFrame([OrderedDict(row) for row in rows])
        if file.exists():
            old = pd.read_csv(file)
            table = pd.concat([old[old['epoch'] < table['epoch'].min()], table])
        table.to_csv(file, index=False)
        with (folder / 'last.json').open('w') as f:
            json.dump({k: float(v) for k, v in rows[-1].items()}, f)

    def total(self, values):
        weights = [w for w, _ in zip(repeat(1.0), values)]
        return torch.dot(torch.tensor(weights), torch.tensor(values)).item()
