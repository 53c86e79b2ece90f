import importlib
from datetime import datetime


class TensorboardWriter():
    def __init__(self, log_dir, logger, enabled):
        self.writer = None
        self.selected_module = ""

        if enabled:
            for name in ("torch.utils.tensorboard", "tensorboardX"):
                try:
                    self.writer = importlib.import_module(name).SummaryWriter(str(log_dir))
                except ImportError:
                    continue
                self.selected_module = name
                break
            else:
                logger.warning("Warning: TensorBoard is switched on in the config, but is not installed.")

        self.step = 0
        self.mode = ''
        self.tb_writer_ftns = {'add_scalar', 'add_scalars', 'add_image', 'add_images', 'add_audio',
                               'add_text', 'add_histogram', 'add_pr_curve', 'add_embedding'}
        self.tag_mode_exceptions = {'add_histogram', 'add_embedding'}
        self.timer = datetime.now()

    def set_step(self, step, mode='train'):
        self.mode = mode
        self.step = step
        if step == 0:
            self.timer = datetime.now()
        else:
            now = datetime.now()
            self.add_scalar('steps_per_sec', 1 / max((now - self.timer).total_seconds(), 1e-6))
            self.timer = now

    def __getattr__(self, name):
        """
        The add_... functions of SummaryWriter, with step and mode filled in; they do nothing when it is off
        """
        if name in self.tb_writer_ftns:
            function = getattr(self.writer, name, None)

            def wrapper(tag, data, *args, **kwargs):
                if function is not None:
                    if name not in self.tag_mode_exceptions:
                        tag = '{}/{}'.format(tag, self.mode)
                    function(tag, data, self.step, *args, **kwargs)
            return wrapper

        # nothing else can be asked for: no add_graph, add_figure, flush or close
        raise AttributeError('{} has no {}'.format(self.selected_module or 'the writer', name))
