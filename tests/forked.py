"""Scripts run in a process of their own, without each paying for the imports."""

import multiprocessing
import runpy
import sys
import traceback
import warnings
from functools import cache


@cache
def _context():
    """A server that has imported moml once, and forks for every script."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["moml", "moml.jobs.load", "tasks", "search_spaces"])
    return context


def run_script(code, folder):
    """Run a script in a folder with warnings as errors.

    Returns:
        The exit status and what it printed last, if it failed.
    """
    script, log = folder / "script.py", folder / "log.txt"
    script.write_text(code)
    process = _context().Process(target=_run, args=(script, log))
    process.start()
    process.join()
    return process.exitcode, log.read_text()


def _run(script, log):
    import os

    os.chdir(script.parent)
    warnings.simplefilter("error")
    with log.open("w", buffering=1) as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        sys.argv = [str(script)]
        try:
            runpy.run_path(str(script), run_name="__main__")
        except BaseException:
            traceback.print_exc(file=stream)
            raise
