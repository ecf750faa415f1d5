"""What goes wrong, as one sentence on stderr and an exit code."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import click

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.errors import CnnvizError, describe_missing, visible

__all__ = ["FAILED", "INTERRUPTED", "describe_refusal", "say_error", "shown_safely", "end_as_sentence"]

FAILED, INTERRUPTED = 1, 130

REFUSALS = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ENXIO,
    errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.EMFILE, errno.ENFILE,
}  # fmt: skip
"""What a system says about its disks, the rights to them and the names on them; whoever asked can mend it."""


@contextmanager
def end_as_sentence(ctx: click.Context, *, debug: bool) -> Iterator[None]:
    """Inside, errors end the program as the user should see them, and libraries' warnings are not shown.

    Args:
        ctx: The context to leave.
        debug: Show unexpected errors with their traceback, and libraries' warnings.
    """
    with warnings.catch_warnings():
        if not debug:
            warnings.simplefilter("ignore")
        try:
            with shown_safely():
                yield
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except CnnvizError as error:
            say_error(str(error))
            ctx.exit(error.exit_code)
        except (KeyboardInterrupt, EOFError):
            click.echo("\ninterrupted", err=True)
            ctx.exit(INTERRUPTED)
        except Exception as error:
            if debug or _is_closed_pipe(error):
                raise
            say_error(describe_refusal(error) or _describe_unexpected(error))
            ctx.exit(FAILED)


@contextmanager
def shown_safely() -> Iterator[None]:
    """Inside, what is wrong with a command line is said with whatever a terminal would obey spelt out."""
    try:
        yield
    except click.ClickException as error:
        vars(error)["message"] = visible(error.message)
        raise


def say_error(sentence: str) -> None:
    """Say on one line what went wrong."""
    click.echo(f"Error: {visible(' '.join(sentence.split()))}", err=True)


def describe_refusal(error: BaseException) -> str | None:
    """What the system refused, as a sentence; None for any other error."""
    if not isinstance(error, OSError) or error.errno not in REFUSALS:
        return None
    where = f"'{error.filename}' cannot be used" if error.filename else "what there is to say cannot be written"
    return f"{where[:1].upper()}{where[1:]}: {error.strerror}."


def _is_closed_pipe(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EPIPE


def _describe_unexpected(error: Exception) -> str:
    if ran_out_of_memory(error):
        return "There is not enough memory, not even for one picture at a time; try --device cpu or --input-size."
    if isinstance(error, ModuleNotFoundError):
        return describe_missing(error)
    return (
        f"internal error ({type(error).__name__}: {error}); please report it, "
        "with what 'cnnviz --debug ...' says in place of 'cnnviz ...'."
    )
