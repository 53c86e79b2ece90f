"""What is done to an input before a model sees it, without the dataset it was trained on.

A dataset says what that is as a plain dict, `dataset.preprocessing`, which checkpoints and bundles hold:
`{"kind": "image", ...}`. `load_preprocessing` makes an object of it; each kind is in a file of its own.
"""
