"""Networks, from a name, a file or the user's own code to one that is ready to be asked.

- ``model``: the network with its preprocessing, labels and layers.
- ``summary``: what a network shows of itself at a prompt and in a notebook.
- ``adapted``: networks with several inputs, or run in a way of their own, as networks that take pictures.
- ``load``: ``load_model``, and the device.
- ``description``: a network described in a ``.toml`` file.
- ``names``: the networks that open by name, and whether their weights are here.
- ``sources``: where networks come from, one file a source.
- ``bundled``: the networks that come with cnnviz.
- ``origin``: what a source hands over, and a record of how a network was opened.
- ``preprocess``: how a picture becomes the network's input, and back.
- ``assumptions``: the preprocessing that is usual, where it was not given.
- ``resampling``: signals, volumes and clips brought to the network's rate, spacing and size.
- ``labels``: the names of the classes.
- ``formats``: what kind of file a network or weights are in.
- ``weights``: weights from a file, without running code.
- ``state_dict``: weights put into a network, names and classes made to fit.
- ``downloads``: weights in the caches, or brought there.
- ``inference_copy``: private copies: a faster one for many forwards, compared with the network first; other weights.
"""
