"""The Job's process: a source model in, a proved and packaged artifact out.

::

    __main__ ─► job ─┬─ key already in the store: answer at once (nothing heavy is imported)
                     └─ pipeline: intake ─► data ─► baseline ─► search ─► gates ─► serving ─► package

`pipeline` orchestrates and opens no model. Whatever parses bytes of a user (graphs, tables) or runs a model is a task
of `tasks`, run by `sandbox` in a subprocess with a memory limit and a deadline, so that a hostile or broken model costs
one recorded failure and never the Job.
"""
