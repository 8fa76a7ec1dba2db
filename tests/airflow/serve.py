"""Run Airflow's command line, several times, from one process. Runs in its own environment.

Each line of the input is a command as JSON: `arguments`, `environment`, and the file that takes its `output`.
It runs in a fork of this process, which has loaded Airflow: that takes longer than most commands do. The exit
code goes to the file descriptor that is given as the argument.
"""

import json
import os
import sys

import airflow.cli.commands.dag_command  # noqa: F401
from airflow.__main__ import main
from airflow.logging_config import configure_logging
from airflow.sdk.execution_time.supervisor import in_process_api_server


def run(arguments, environment, output):
    file = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(file, sys.stdout.fileno())
    os.dup2(file, sys.stderr.fileno())
    os.environ.update(environment)
    configure_logging()
    sys.argv = ["airflow", *arguments]
    main()


in_process_api_server().app._cadwyn_initialize()
with os.fdopen(int(sys.argv[1]), "w") as answers:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(**json.loads(line))
            sys.exit()
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()
