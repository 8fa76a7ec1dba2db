"""Run Airflow's command line, several times, from one process. Runs in its own environment.

Each line of the input is a command as JSON: `arguments`, `environment`, and the file that takes its output. It
runs in a fork of this process, which has loaded Airflow: loading it for each command would take most of the time
of the tests. The exit code goes to the file descriptor that is given as the argument.
"""

import json
import os
import sys
import traceback

import airflow.api_fastapi.execution_api.app
import airflow.cli.commands.dag_command  # noqa: F401
from airflow.__main__ import main


def run(arguments, environment, output):
    with open(output, "wb") as file:  # noqa: PTH123
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(environment)
    sys.argv = ["airflow", *arguments]
    code = 0
    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


with open(int(sys.argv[1]), "w") as answers:  # noqa: PTH123
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)
