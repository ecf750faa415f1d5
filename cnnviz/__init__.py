"""cnnviz: see what a trained CNN has learnt, and why it answers as it does.

Public names stand in ``__init__.pyi`` and are loaded on first use; importing cnnviz imports no torch. Inside, from what
a user touches down to plain data:

    cli         the command line, installed as ``cnnviz.cli``
    explorer    a network and pictures live in the browser
    rerunning   an output made again from the record inside it
    reporting   a report: one page about one network and a few pictures
    auditing    a whole data set: where a network is wrong, and what it looks at
    evaluation  how good maps are: metrics, controls, intervals
    bulk        maps of a whole data set: in one store, or as pictures in a folder
    methods     a folder a family: formulas, on what the engine hands over
    results     what methods return: draws and saves itself
    models      a network ready to be asked, from wherever it is opened
    images      reading pictures and data sets; drawn scenes
    engine      capture, replay, rules, batching, receptive fields, tallies
    drawing     numpy in, pixels or a figure out
    core        plain nouns: target, layer, field, picture
    catalogue   the methods, one line each; ``method`` is what makes a function one, ``lengths`` settings by axis
    provenance  how a result was made; ``errors`` is what can go wrong
"""

try:
    import lazy_loader

    __getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
except ModuleNotFoundError as error:  # raised again where a name is asked for, so that python -m cnnviz can say it
    _missing = error

    def __getattr__(_: str) -> object:
        raise _missing
